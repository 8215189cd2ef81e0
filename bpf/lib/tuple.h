/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What tells one flow from another: both ends of a packet. An ICMP error counts
 * as a packet of the flow it is about, in the direction in which it goes.
 */
#pragma once

#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "ipv4.h"
#include "maps.h"

#define IPV4_MORE_FRAGMENTS 0x2000
#define TCP_HEADER_BYTES    20
#define UDP_HEADER_BYTES    8
#define ICMP_HEADER_BYTES   8
/* <linux/icmp.h> needs a C library. */
#define ICMP_ECHOREPLY	   0
#define ICMP_DEST_UNREACH  3
#define ICMP_ECHO	   8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_CHECKSUM_AT   2
#define ICMP_ID_AT	   4
#define TCP_FIN		   0x01
#define TCP_SYN		   0x02
#define TCP_RST		   0x04
#define TCP_ACK		   0x10

#define NS_PER_SECOND 1000000000ULL

/* Conntrack's clock. */
static __always_inline __u32 now_s(void)
{
	const struct runtime_info *runtime;
	__u32 index = 0;

	runtime = bpf_map_lookup_elem(&cilium_runtime, &index);
	/* As coarse as a tick, which is a third of what the exact time costs. */
	return bpf_ktime_get_coarse_ns() / NS_PER_SECOND + (runtime ? runtime->clock_offset_s : 0);
}

enum tuple_kind {
	TUPLE_UNREAD = 0,
	TUPLE_OTHER_PROTOCOL, /* no ports that we know: no flow */
	TUPLE_TRUNCATED,      /* the packet ends before its transport header does */
	TUPLE_LOST_FRAGMENT,  /* a later fragment, and the first was never seen */
	TUPLE_FLOW,
	TUPLE_ICMP_ERROR,
};

struct tuple {
	struct ct_key key; /* as this packet goes; direction is the user's to set */
	__u16 l4_offset;   /* from the frame's begin; of an ICMP error the quoted packet's */
	__u8 kind;	   /* enum tuple_kind */
	__u8 tcp_flags;
	__u8 has_l4;	 /* the header is in this packet, not in an earlier fragment */
	__u8 to_service; /* a client's, and on its way to a backend by now: no reply to anybody */
	__u8 reserved[2];
	__u32 now_s; /* conntrack's clock, read once a packet */
	struct ct_entry
		*entry; /* of this very key, direction included, where it was found on the way */
};

/* The first 16 bytes of any of the three. */
struct l4_begin {
	union {
		struct {
			__be16 sport;
			__be16 dport;
		} __attribute__((packed));
		struct {
			__u8 icmp_type;
			__u8 icmp_code;
			__sum16 icmp_checksum;
		} __attribute__((packed));
	};
	__be16 icmp_id; /* or half of TCP's sequence number */
	__u8 between[6];
	__u8 tcp_offset;
	__u8 tcp_flags;
	__u8 after[2];
};

static __always_inline bool is_flow(const struct tuple *tuple)
{
	return tuple->kind >= TUPLE_FLOW;
}

/* Keys of conntrack and of translations have the same fields: as `from` has them, or as the other side sends. */
#define set_key(to, from, way)                                  \
	(*(to) = (typeof(*(to))){ .saddr = (from)->saddr,       \
				  .daddr = (from)->daddr,       \
				  .sport = (from)->sport,       \
				  .dport = (from)->dport,       \
				  .l4_proto = (from)->l4_proto, \
				  .direction = (way) })
#define set_reverse_key(to, from, way)                          \
	(*(to) = (typeof(*(to))){ .saddr = (from)->daddr,       \
				  .daddr = (from)->saddr,       \
				  .sport = (from)->dport,       \
				  .dport = (from)->sport,       \
				  .l4_proto = (from)->l4_proto, \
				  .direction = (way) })

static __always_inline bool is_icmp_error(__u8 type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETERPROB;
}

/* Ports by protocol; an echo's identifier is at the end of who asked. False for what has none. */
static __always_inline bool ports_of(const struct l4_begin *l4, struct ct_key *key)
{
	if (key->l4_proto != IPPROTO_ICMP) {
		key->sport = l4->sport;
		key->dport = l4->dport;
		return true;
	}
	key->sport = 0;
	key->dport = 0;
	if (l4->icmp_type == ICMP_ECHO)
		key->sport = l4->icmp_id;
	else if (l4->icmp_type == ICMP_ECHOREPLY)
		key->dport = l4->icmp_id;
	else
		return false;
	return true;
}

/* The packet that an error quotes: its header and the first eight bytes of what follows. */
static __always_inline void load_quoted(struct __sk_buff *skb, struct tuple *tuple, __u32 end)
{
	__u32 offset = tuple->l4_offset + ICMP_HEADER_BYTES;
	struct l4_begin l4 = {};
	struct iphdr ip;

	tuple->kind = TUPLE_TRUNCATED;
	if (offset + sizeof(ip) > end || bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) < 0)
		return;
	if (ip.version != 4 || ip.ihl < 5)
		return;
	offset += ip.ihl * 4;
	if (offset + 8 > end || bpf_skb_load_bytes(skb, offset, &l4, 8) < 0)
		return;
	tuple->kind = TUPLE_OTHER_PROTOCOL;
	if (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP && ip.protocol != IPPROTO_ICMP)
		return;
	/* Without its ports nobody knows whose the error is. */
	if (is_later_fragment(&ip))
		return;
	tuple->key.l4_proto = ip.protocol;
	if (!ports_of(&l4, &tuple->key)) {
		tuple->key.l4_proto = IPPROTO_ICMP;
		return;
	}
	tuple->key.saddr = ip.daddr;
	tuple->key.daddr = ip.saddr;
	ip.id = tuple->key.sport;
	tuple->key.sport = tuple->key.dport;
	tuple->key.dport = ip.id;
	tuple->l4_offset = offset;
	tuple->kind = TUPLE_ICMP_ERROR;
}

/* Fills in what is known; the kind says how much. For packets that parse_ipv4 has let through. */
static __noinline int load_tuple(struct __sk_buff *skb, struct tuple *tuple)
{
	struct ipv4_packet packet;
	struct l4_begin l4 = {};
	struct frag_key datagram = {};
	struct frag_ports ports;
	const struct frag_ports *known;
	__u32 need, end;
	__be16 fragment;

	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->now_s = now_s();
	tuple->kind = TUPLE_TRUNCATED;
	if (!point_at_headers(skb, &packet))
		return 0;
	end = bpf_ntohs(packet.ip->tot_len);
	end = end ? ETH_HLEN + end : skb->len;
	tuple->key.saddr = packet.ip->saddr;
	tuple->key.daddr = packet.ip->daddr;
	tuple->key.l4_proto = packet.ip->protocol;
	tuple->l4_offset = ETH_HLEN + packet.ip->ihl * 4;
	fragment = packet.ip->frag_off & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET_MASK);
	switch (packet.ip->protocol) {
	case IPPROTO_TCP:
		need = TCP_HEADER_BYTES;
		break;
	case IPPROTO_UDP:
		need = UDP_HEADER_BYTES;
		break;
	case IPPROTO_ICMP:
		need = ICMP_HEADER_BYTES;
		break;
	default:
		tuple->kind = TUPLE_OTHER_PROTOCOL;
		return 0;
	}
	if (unlikely(fragment)) {
		datagram.saddr = packet.ip->saddr;
		datagram.daddr = packet.ip->daddr;
		datagram.id = packet.ip->id;
		datagram.l4_proto = packet.ip->protocol;
		if (is_later_fragment(packet.ip)) {
			known = bpf_map_lookup_elem(&cilium_ipv4_frag_datagrams, &datagram);
			tuple->kind = known ? TUPLE_FLOW : TUPLE_LOST_FRAGMENT;
			if (known) {
				tuple->key.sport = known->sport;
				tuple->key.dport = known->dport;
			}
			return 0;
		}
	}
	if (tuple->l4_offset + need > end)
		return 0;
	if (need == TCP_HEADER_BYTES) {
		if (bpf_skb_load_bytes(skb, tuple->l4_offset, &l4, sizeof(l4)) < 0)
			return 0;
		tuple->tcp_flags = l4.tcp_flags;
	} else if (bpf_skb_load_bytes(skb, tuple->l4_offset, &l4, 8) < 0) {
		return 0;
	}
	if (!ports_of(&l4, &tuple->key)) {
		if (!fragment && is_icmp_error(l4.icmp_type))
			load_quoted(skb, tuple, end);
		else
			tuple->kind = TUPLE_OTHER_PROTOCOL;
		return 0;
	}
	tuple->has_l4 = 1;
	tuple->kind = TUPLE_FLOW;
	if (unlikely(fragment)) {
		ports.sport = tuple->key.sport;
		ports.dport = tuple->key.dport;
		bpf_map_update_elem(&cilium_ipv4_frag_datagrams, &datagram, &ports, BPF_ANY);
	}
	return 0;
}

/* Reads it unless an earlier step of this packet's way has; whoever declares a tuple begins with TUPLE_UNREAD. */
static __always_inline void need_tuple(struct __sk_buff *skb, struct tuple *tuple)
{
	if (tuple->kind == TUPLE_UNREAD)
		load_tuple(skb, tuple);
}
