/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* As lxc_probe.c, for what the host sends to the pods and is sent. */
struct __sk_buff;
int cil_from_host(struct __sk_buff *skb) __attribute__((always_inline));
int cil_to_host(struct __sk_buff *skb) __attribute__((always_inline));

#include "../../../bpf/host.c"
#include "probe.h"

SEC("tc")
int probe_from_host(struct __sk_buff *skb)
{
	prepare(skb);
	return tell(skb, cil_from_host(skb));
}

SEC("tc")
int probe_to_host(struct __sk_buff *skb)
{
	prepare(skb);
	return tell(skb, cil_to_host(skb));
}
