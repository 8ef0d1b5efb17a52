#!/bin/sh
# After the files are there. A first installation starts nothing: the sample names no broker. In an
# upgrade, the running kproxy hands over to the new program. No connection is refused.
#
# dpkg calls it as "configure [OLD-VERSION]" (and abort-…), rpm as "1" (first) or "2" (upgrade), apk as
# "VERSION"; apk's upgrade is postupgrade.sh.
set -e

# hand_over has the new program take over, and waits for it. It fails for a program or a configuration
# that cannot start; the old process then goes on.
hand_over() {
	old=$(systemctl show --property=MainPID --value kproxy.service)
	systemctl kill --kill-who=main --signal=SIGUSR2 kproxy.service || return
	i=0
	while [ $i -lt 70 ]; do # kproxy gives the new process a minute
		new=$(systemctl show --property=MainPID --value kproxy.service)
		if [ "$new" != "$old" ]; then
			echo "kproxy: process $new has taken over from process $old"
			return
		fi
		sleep 1
		i=$((i + 1))
	done
	return 1
}

[ -d /run/systemd/system ] || exit 0
case ${1:-} in
configure) upgrade=${2:-} ;;
[2-9] | upgrade) upgrade=yes ;;
*) upgrade= ;;
esac
systemctl daemon-reload || true
if [ -n "$upgrade" ]; then
	if systemctl --quiet is-active kproxy.service && ! hand_over; then
		echo "kproxy: the old process goes on, because the new one did not take over. journalctl -u kproxy says why;" >&2
		echo "kproxy: systemctl restart kproxy restarts it." >&2
	fi
elif [ "${1:-}" = configure ] || [ "${1:-}" = 1 ]; then
	echo "kproxy: write your brokers into /etc/kproxy/kproxy.yaml, then systemctl enable --now kproxy"
fi
