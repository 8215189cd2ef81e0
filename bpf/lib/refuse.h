/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who asks from outside for a service that has nobody behind it learns so at
 * once, by ICMP "port unreachable", as a closed port says it: the packet is
 * counted as dropped, cut to what such an error quotes, and sent back.
 */
#pragma once

#include "mark.h"
#include "tuple.h"

#define ICMP_PORT_UNREACH 3
/* As much as a checksum that is still to be filled in by a device needs to be in the packet. */
#define QUOTED_TCP_BYTES TCP_HEADER_BYTES
#define QUOTED_UDP_BYTES UDP_HEADER_BYTES
#define REFUSAL_TTL	 64

struct icmp_error {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 unused;
};

struct refusal {
	struct iphdr ip;
	struct icmp_error icmp;
	struct iphdr quoted;
};

#define REFUSAL_ADDS (sizeof(struct refusal) - sizeof(struct iphdr))

static __always_inline __sum16 folded(__s64 sum)
{
	__u32 folded = sum;

	folded = (folded & 0xFFFF) + (folded >> 16);
	folded = (folded & 0xFFFF) + (folded >> 16);
	return ~folded;
}

/* RFC 1122: errors are about one host's first fragments, and never about an error. */
static __always_inline bool may_be_refused(const struct __sk_buff *skb, const struct tuple *tuple,
					   const struct iphdr *ip)
{
	__u8 net = bpf_ntohl(ip->saddr) >> 24;

	if (tuple->kind != TUPLE_FLOW || !tuple->has_l4 || skb->gso_size || ip->ihl != 5)
		return false;
	if (net == 0 || net == 127 || net >= 224)
		return false;
	if (ip->protocol == IPPROTO_TCP)
		return !(tuple->tcp_flags & TCP_RST);
	return ip->protocol == IPPROTO_UDP;
}

/* Back where it came from as an error, or shot. The packet was counted as dropped before. */
static __noinline int refuse_client(struct __sk_buff *skb, const struct tuple *tuple)
{
	__u32 quoted = tuple->key.l4_proto == IPPROTO_TCP ? QUOTED_TCP_BYTES : QUOTED_UDP_BYTES;
	struct ipv4_packet packet;
	struct refusal *refusal;
	__u8 mac[ETH_ALEN];
	__s64 sum;

	if (!point_at_headers(skb, &packet) || !may_be_refused(skb, tuple, packet.ip))
		return TC_ACT_SHOT;
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(struct iphdr) + quoted, 0) < 0 ||
	    bpf_skb_adjust_room(skb, REFUSAL_ADDS, BPF_ADJ_ROOM_MAC, 0) < 0 ||
	    bpf_skb_pull_data(skb, ETH_HLEN + sizeof(*refusal) + quoted) < 0)
		return TC_ACT_SHOT;
	if (!point_at_headers(skb, &packet))
		return TC_ACT_SHOT;
	refusal = (struct refusal *)packet.ip;
	/* Lengths that the verifier knows, one for each protocol. */
	if ((void *)(refusal + 1) + QUOTED_UDP_BYTES > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	__builtin_memset(refusal, 0, REFUSAL_ADDS);
	refusal->ip.version = 4;
	refusal->ip.ihl = 5;
	refusal->ip.tot_len = bpf_htons(sizeof(*refusal) + quoted);
	refusal->ip.ttl = REFUSAL_TTL;
	refusal->ip.protocol = IPPROTO_ICMP;
	refusal->ip.saddr = refusal->quoted.daddr;
	refusal->ip.daddr = refusal->quoted.saddr;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&refusal->ip, sizeof(refusal->ip), 0);
	refusal->ip.check = folded(sum);
	refusal->icmp.type = ICMP_DEST_UNREACH;
	refusal->icmp.code = ICMP_PORT_UNREACH;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&refusal->icmp,
			    sizeof(*refusal) - sizeof(refusal->ip) + QUOTED_UDP_BYTES, 0);
	if (quoted == QUOTED_TCP_BYTES) {
		__be32 *rest = (void *)(refusal + 1) + QUOTED_UDP_BYTES;

		if ((void *)(refusal + 1) + QUOTED_TCP_BYTES > (void *)(long)skb->data_end)
			return TC_ACT_SHOT;
		sum = bpf_csum_diff(NULL, 0, rest, QUOTED_TCP_BYTES - QUOTED_UDP_BYTES, sum);
	}
	refusal->icmp.checksum = folded(sum);
	mac_copy(mac, packet.eth->h_dest);
	mac_copy(packet.eth->h_dest, packet.eth->h_source);
	mac_copy(packet.eth->h_source, mac);
	/* It is as it must leave: nobody is to translate it on its way out. */
	set_mark(skb, MARK_MAGIC_TRANSLATED);
	return bpf_redirect(skb->ifindex, 0);
}
