/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* lxc.c and programs that run its entries between what probe.h prepares and what it tells. */
struct __sk_buff;
int cil_to_container(struct __sk_buff *skb) __attribute__((always_inline));
int cil_from_container(struct __sk_buff *skb) __attribute__((always_inline));

#include "../../../bpf/lxc.c"
#include "probe.h"

SEC("tc")
int probe_from_container(struct __sk_buff *skb)
{
	prepare(skb);
	return tell(skb, cil_from_container(skb));
}

SEC("tc")
int probe_to_container(struct __sk_buff *skb)
{
	prepare(skb);
	return tell(skb, cil_to_container(skb));
}
