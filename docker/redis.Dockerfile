# Debian's Redis, for the demo; any image of Redis 7.0 or later, or of Valkey, does as well.

ARG BASE=debian:trixie-slim

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log \
 && echo 'redis-demo:x:10001:10001::/data:/usr/sbin/nologin' >> /etc/passwd \
 && install -d -m 700 -o 10001 -g 10001 /data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 6379
CMD ["redis-server", "/etc/redis/redis.conf"]
