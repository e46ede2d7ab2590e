# The first process of a machine of the laboratory: the witness, and a shell that does what the host sends it.
read -r _ hostname </proc/cmdline
hostname=${hostname##*lab.name=}
hostname "${hostname%% *}"
mkdir -p /etc /var/lib/chrony /run/chrony /var/tmp
printf 'root:x:0:0::/:/bin/sh\n' >/etc/passwd
printf 'root:x:0:\n' >/etc/group
printf '127.0.0.1 localhost\n10.77.0.1 server.lan\n10.78.0.5 utc.outside\n' >/etc/hosts
# IPv6 would send its own announcements: traffic that is not wanted here.
for each in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >"$each"; done
while [ ! -e /dev/vport0p1 ]; do sleep 0.1; done
witness machine </dev/null >/dev/ttyS0 2>&1 &
# The port can be opened only once; and until the host has opened its end, there is nothing to read but its
# end.
while :; do
    sh 0<>/dev/vport0p1 1>&0 2>&0
    sleep 0.2
done
