# Debian's Asterisk with pbx_stir's dialplan in /usr/share/pbx-stir. From the repository's folder:
#
#   docker build -f docker/asterisk.Dockerfile -t pbx-stir-asterisk .
#
# BASE is a Debian that has Asterisk; 13 (trixie) has none. Mount your /etc/asterisk, and include
# /usr/share/pbx-stir/pbx-stir.conf in its extensions.conf.

ARG BASE=debian:forky-slim

FROM ${BASE}
# The user is there before the package, which would give it an id that nobody knows.
RUN echo 'asterisk:x:10001:10001::/var/lib/asterisk:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'asterisk:x:10001:' >> /etc/group \
 && apt-get update \
 && apt-get install -y --no-install-recommends asterisk \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log \
 && install -d -o 10001 -g 10001 /run/asterisk \
        /var/log/asterisk/cdr-csv /var/log/asterisk/cdr-custom \
        /var/log/asterisk/cel-custom /var/log/asterisk/cel_custom \
 && chown -R 10001:10001 /var/cache/asterisk /var/lib/asterisk /var/log/asterisk /var/spool/asterisk
COPY dialplan/asterisk /usr/share/pbx-stir
USER 10001:10001
VOLUME /var/lib/asterisk /var/log/asterisk /var/spool/asterisk
EXPOSE 5060/udp
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["asterisk", "-rx", "core waitfullybooted"]
ENTRYPOINT ["asterisk"]
CMD ["-f"]
