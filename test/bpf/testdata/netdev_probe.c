/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* As lxc_probe.c, for what comes in from the network and leaves by it. */
struct __sk_buff;
int cil_from_netdev(struct __sk_buff *skb) __attribute__((always_inline));
int cil_to_netdev(struct __sk_buff *skb) __attribute__((always_inline));

#include "../../../bpf/netdev.c"
#include "probe.h"

SEC("tc")
int probe_from_netdev(struct __sk_buff *skb)
{
	prepare(skb);
	return tell(skb, cil_from_netdev(skb));
}

SEC("tc")
int probe_to_netdev(struct __sk_buff *skb)
{
	prepare(skb);
	return tell(skb, cil_to_netdev(skb));
}
