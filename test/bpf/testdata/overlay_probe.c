/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * overlay.c and programs that give the packet a tunnel key first, as the
 * tunnel device does with what it receives; BPF_PROG_TEST_RUN cannot. The VNI
 * comes in cb[0].
 */
struct __sk_buff;
int cil_from_overlay(struct __sk_buff *skb) __attribute__((always_inline));
int cil_to_overlay(struct __sk_buff *skb) __attribute__((always_inline));

#include "../../../bpf/overlay.c"
#include "cut.h"

static __always_inline void receive(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = { .tunnel_id = skb->cb[0], .remote_ipv4 = 0xC0A80A65 };

	bpf_skb_set_tunnel_key(skb, &key, TUNNEL_KEY_BYTES, 0);
}

SEC("tc")
int probe_from_overlay(struct __sk_buff *skb)
{
	cut(skb);
	receive(skb);
	return cil_from_overlay(skb);
}

SEC("tc")
int probe_to_overlay(struct __sk_buff *skb)
{
	receive(skb);
	return cil_to_overlay(skb);
}
