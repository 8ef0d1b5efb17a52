#!/bin/sh
# Before the files go: stop and disable kproxy, but not in an upgrade. dpkg calls it as "remove" or
# "upgrade NEW-VERSION", rpm as "0" or "1", apk as "VERSION".
set -e
case ${1:-} in
upgrade | failed-upgrade | deconfigure | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl --quiet disable --now kproxy.socket kproxy.service || true
fi
