/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What BPF_PROG_TEST_RUN cannot do to a packet, and cannot tell of it. The
 * control block carries both: in, cb[0] a VNI, cb[1] where the frame breaks
 * off, cb[2] the tag of a VLAN; out, cb[0] and cb[1] the tunnel key, cb[2] the
 * packet type.
 */
#pragma once

/* A run's frame has a whole IPv4 header and its tag, if any, within; those that a device receives need not. */
static __always_inline void prepare(struct __sk_buff *skb)
{
	__u32 cut_to = skb->cb[1], tag = skb->cb[2];

	skb->cb[0] = 0;
	skb->cb[1] = 0;
	skb->cb[2] = 0;
	if (cut_to)
		bpf_skb_change_tail(skb, cut_to, 0);
	if (tag)
		bpf_skb_vlan_push(skb, bpf_htons(0x8100), tag);
}

static __always_inline int tell(struct __sk_buff *skb, int verdict)
{
	struct bpf_tunnel_key key = {};

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) == 0) {
		skb->cb[0] = key.tunnel_id;
		skb->cb[1] =
			key.local_ipv4; /* on the sending side the kernel shows the destination here */
	}
	skb->cb[2] = skb->pkt_type;
	return verdict;
}
