#!/bin/sh
# Before the files are there: the user and the group that some of them belong to. Alpine has adduser,
# the others have useradd.
set -e
if ! grep -q '^kproxy:' /etc/group; then
	if command -v groupadd >/dev/null; then
		groupadd --system kproxy
	else
		addgroup -S kproxy
	fi
fi
if ! grep -q '^kproxy:' /etc/passwd; then
	if command -v useradd >/dev/null; then
		useradd --system --gid kproxy --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin --comment 'kproxy, a proxy for Kafka' kproxy
	else
		adduser -S -D -H -h /nonexistent -s /sbin/nologin -G kproxy -g 'kproxy, a proxy for Kafka' kproxy
	fi
fi
