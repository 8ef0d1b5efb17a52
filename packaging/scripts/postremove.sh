#!/bin/sh
# After the files are gone. dpkg's purge leaves nothing: neither the state, nor files that were added to
# /etc/kproxy, nor the user. rpm and apk have no purge.
set -e
case ${1:-} in
upgrade | failed-upgrade | abort-install | abort-upgrade | disappear | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
if [ "${1:-}" = purge ]; then
	rm -rf /etc/kproxy /var/lib/kproxy /etc/systemd/system/kproxy.service.d /etc/systemd/system/kproxy.socket.d
	if command -v userdel >/dev/null; then
		userdel kproxy 2>/dev/null || true
		groupdel kproxy 2>/dev/null || true
	fi
fi
