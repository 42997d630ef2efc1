# The listener and the call placement service: one image, two commands. From the repository's folder:
#
#   docker build -f docker/pbx-stir.Dockerfile -t pbx-stir .
#
# BASE is any Debian with Python 3.11 or later. Where docker/wheelhouse has a folder for its Python,
# packages are taken from there, not from PyPI (docker/fill-wheelhouse).

ARG BASE=debian:trixie-slim

FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log

FROM python AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY docker/wheelhouse /wheelhouse
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY pbx_stir pbx_stir
ARG EXTRAS=dns,metrics,proxy,redis,speed
RUN python3 -m venv --without-pip /opt/pbx-stir \
 && wheels=$(python3 -c 'import sys; print("/wheelhouse/%d.%d" % sys.version_info[:2])') \
 && if [ -d "$wheels" ]; then set -- --no-index --find-links "$wheels"; fi \
 && pip --python /opt/pbx-stir/bin/python install --no-cache-dir "$@" ".[${EXTRAS}]"

FROM python
# not useradd, which a small base need not have
RUN echo 'pbx-stir:x:10001:10001::/var/lib/pbx-stir:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'pbx-stir:x:10001:' >> /etc/group \
 && install -d -m 755 /etc/pbx-stir \
 && install -d -m 700 -o 10001 -g 10001 /var/lib/pbx-stir
COPY --from=build /opt/pbx-stir /opt/pbx-stir
COPY docker/healthy.py /opt/pbx-stir/bin/healthy
ENV PATH=/opt/pbx-stir/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /var/lib/pbx-stir
EXPOSE 8443
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["healthy"]
ENTRYPOINT ["pbx-stir"]
CMD ["run"]
