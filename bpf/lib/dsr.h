/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Direct server return: a remote backend gets the client's packet with the
 * client's address, and answers by itself in the frontend's name. Its node
 * learns that name from an IP option: in TCP's SYN, and in every datagram that
 * has room for it, since any may be the first that arrives.
 */
#pragma once

#include "conntrack.h"
#include "ipv4.h"

#define DSR_OPTION    0x9A /* copied into fragments, number 26: Cilium's */
#define DSR_OPTION_AT (ETH_HLEN + sizeof(struct iphdr))

struct dsr_option {
	__u8 type;
	__u8 length;
	__be16 port;
	__be32 address;
};

#define DSR_OPTION_WORDS (sizeof(struct dsr_option) / 4)
#define DSR_ROOM_FLAGS	 (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET)

/* The header as it is to be with so many bytes of options more; the option's words count, too. */
static __always_inline int dsr_resize(struct __sk_buff *skb, struct ipv4_packet *packet, int bytes,
				      struct dsr_option *option)
{
	__u16 was[2], is[2];
	__s64 sum;

	if (!point_at_headers(skb, packet))
		return -1;
	was[0] = *(__u16 *)packet->ip;
	was[1] = packet->ip->tot_len;
	packet->ip->ihl += bytes / 4;
	packet->ip->tot_len = bpf_htons(bpf_ntohs(packet->ip->tot_len) + bytes);
	is[0] = *(__u16 *)packet->ip;
	is[1] = packet->ip->tot_len;
	sum = bpf_csum_diff((__be32 *)was, sizeof(was), (__be32 *)is, sizeof(is), 0);
	if (bytes > 0)
		sum = bpf_csum_diff(NULL, 0, (__be32 *)option, sizeof(*option), sum);
	else
		sum = bpf_csum_diff((__be32 *)option, sizeof(*option), NULL, 0, sum);
	return bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), 0, sum, 0);
}

/* Whether the option is to be in this packet, and has room in it. */
static __always_inline bool dsr_is_due(struct __sk_buff *skb, const struct tuple *tuple)
{
	struct ipv4_packet packet;

	if (tuple->kind != TUPLE_FLOW || !tuple->has_l4 || skb->gso_size)
		return false;
	if (!point_at_headers(skb, &packet) || packet.ip->ihl + DSR_OPTION_WORDS > 15 ||
	    skb->len - ETH_HLEN + sizeof(struct dsr_option) > cfg_route_mtu)
		return false;
	return tuple->key.l4_proto != IPPROTO_TCP || is_syn(tuple);
}

/*
 * Whether the remote backend answers this flow by itself: all of the flow or
 * nothing of it, as its first packet was. A packet that fills the wire has no room
 * for the option; TCP goes on this way even at a node that has not seen its
 * beginning.
 */
static __always_inline bool backend_answers(struct __sk_buff *skb, const struct tuple *tuple)
{
	struct ct_key key = tuple->key;
	const struct ct_entry *entry;

	key.direction = CT_EGRESS;
	entry = ct_find(&key, tuple->now_s);
	if (entry)
		return entry->flags & CT_F_DSR;
	return (key.l4_proto == IPPROTO_TCP && !is_syn(tuple)) || dsr_is_due(skb, tuple);
}

/* Tells the backend's node, where that may not know it yet. 0 or a drop. */
static __noinline int dsr_tell(struct __sk_buff *skb, struct tuple *tuple, __be32 address,
			       __be16 port)
{
	struct dsr_option option = {
		.type = DSR_OPTION,
		.length = sizeof(option),
		.port = port,
		.address = address,
	};
	struct ipv4_packet packet;

	if (!dsr_is_due(skb, tuple))
		return 0;
	if (bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, DSR_ROOM_FLAGS) < 0 ||
	    bpf_skb_store_bytes(skb, DSR_OPTION_AT, &option, sizeof(option), 0) < 0 ||
	    dsr_resize(skb, &packet, sizeof(option), &option) < 0)
		return DROP(SOURCE_DSR_H, DROP_WRITE_ERROR);
	tuple->l4_offset += sizeof(option);
	return 0;
}

/* At the backend's node: notes in whose name to answer, and takes the option out. 0 or a drop. */
static __noinline int dsr_learn(struct __sk_buff *skb, struct tuple *tuple)
{
	struct ct_entry *entry, fresh = { .flags = CT_F_NODE_PORT | CT_F_DSR };
	struct ct_key key = tuple->key;
	struct ipv4_packet packet;
	struct dsr_option option;
	int error = 0;

	/* An echo has no port to answer from. */
	if (key.l4_proto == IPPROTO_ICMP || !point_at_headers(skb, &packet) ||
	    packet.ip->ihl < (sizeof(struct iphdr) + sizeof(option)) / 4)
		return 0;
	if (bpf_skb_load_bytes(skb, DSR_OPTION_AT, &option, sizeof(option)) < 0 ||
	    option.type != DSR_OPTION || option.length != sizeof(option))
		return 0;
	key.direction = CT_INGRESS;
	entry = ct_find(&key, tuple->now_s);
	if (entry && entry->nat_address == option.address && entry->nat_port == option.port) {
		ct_note(skb, entry, tuple, false, tuple->now_s);
	} else {
		fresh.nat_address = option.address;
		fresh.nat_port = option.port;
		error = ct_insert(skb, &key, &fresh, tuple, tuple->now_s);
	}
	if (error)
		return error;
	if (dsr_resize(skb, &packet, -(int)sizeof(option), &option) < 0 ||
	    bpf_skb_adjust_room(skb, -(int)sizeof(option), BPF_ADJ_ROOM_NET, DSR_ROOM_FLAGS) < 0)
		return DROP(SOURCE_DSR_H, DROP_WRITE_ERROR);
	tuple->l4_offset -= sizeof(option);
	return 0;
}
