/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * As lxc_probe.c, with a tunnel key given to the packet first, as the tunnel
 * device does with what it receives.
 */
struct __sk_buff;
int cil_from_overlay(struct __sk_buff *skb) __attribute__((always_inline));
int cil_to_overlay(struct __sk_buff *skb) __attribute__((always_inline));

#include "../../../bpf/overlay.c"
#include "probe.h"

static __always_inline void receive(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = { .tunnel_id = skb->cb[0], .remote_ipv4 = 0xC0A80A65 };

	prepare(skb);
	bpf_skb_set_tunnel_key(skb, &key, TUNNEL_KEY_BYTES, 0);
}

SEC("tc")
int probe_from_overlay(struct __sk_buff *skb)
{
	receive(skb);
	return tell(skb, cil_from_overlay(skb));
}

SEC("tc")
int probe_to_overlay(struct __sk_buff *skb)
{
	receive(skb);
	return tell(skb, cil_to_overlay(skb));
}
