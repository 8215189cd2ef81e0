/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Another address and port at one end of a packet, with every checksum that
 * covers them. Pointers into the packet are stale afterwards.
 */
#pragma once

#include "tuple.h"

enum packet_end {
	END_SOURCE,
	END_DESTINATION,
};

/* Where the checksum is behind the transport header's begin. */
static __always_inline __u32 checksum_at(__u8 l4_proto)
{
	switch (l4_proto) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	default:
		return ICMP_CHECKSUM_AT;
	}
}

static __always_inline int replace_address(struct __sk_buff *skb, __u32 ip_at, __u32 end,
					   __be32 was, __be32 is)
{
	__u32 address_at = ip_at + (end == END_SOURCE ? offsetof(struct iphdr, saddr)
						      : offsetof(struct iphdr, daddr));

	if (bpf_skb_store_bytes(skb, address_at, &is, sizeof(is), 0) < 0 ||
	    bpf_l3_csum_replace(skb, ip_at + offsetof(struct iphdr, check), was, is, sizeof(is)) <
		    0)
		return DROP(SOURCE_REWRITE_H, DROP_WRITE_ERROR);
	return 0;
}

/* The checksum with one word of what it covers replaced (RFC 1624). */
static __always_inline __sum16 replaced_sum(__sum16 check, __be32 was, __be32 is)
{
	__u32 sum = (__u16)~check + (__u16)~was + (__u16)(~was >> 16) + (__u16)is + (is >> 16);

	sum = (sum & 0xFFFF) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

/* The packet's own header needs no helper: it lies at hand, and what is added to one field its checksum takes off again. */
static __always_inline int replace_own_address(struct __sk_buff *skb, __u32 end, __be32 was,
					       __be32 is)
{
	struct ipv4_packet packet;

	if (!point_at_headers(skb, &packet))
		return DROP(SOURCE_REWRITE_H, DROP_WRITE_ERROR);
	if (end == END_SOURCE)
		packet.ip->saddr = is;
	else
		packet.ip->daddr = is;
	packet.ip->check = replaced_sum(packet.ip->check, was, is);
	return 0;
}

/*
 * The quoted packet of an ICMP error goes the other way, so its ends are changed
 * over. Its own header's checksum makes up for the address, so ICMP's checksum
 * only sees the port; the quoted transport checksum is for nobody to verify.
 */
static __always_inline int rewrite_quoted(struct __sk_buff *skb, const struct tuple *tuple,
					  __u32 end, __be32 address, __be16 port)
{
	const struct ct_key *key = &tuple->key;
	__be32 was = end == END_SOURCE ? key->saddr : key->daddr;
	__be16 was_port = end == END_SOURCE ? key->sport : key->dport;
	__u32 inner = end == END_SOURCE ? END_DESTINATION : END_SOURCE;
	struct ipv4_packet packet;
	__u32 outer_l4, port_at;
	struct iphdr quoted;
	__be32 outer;
	int error;

	if (!point_at_headers(skb, &packet))
		return DROP(SOURCE_REWRITE_H, DROP_INVALID);
	outer_l4 = ETH_HLEN + packet.ip->ihl * 4;
	outer = end == END_SOURCE ? packet.ip->saddr : packet.ip->daddr;
	if (bpf_skb_load_bytes(skb, outer_l4 + ICMP_HEADER_BYTES, &quoted, sizeof(quoted)) < 0)
		return DROP(SOURCE_REWRITE_H, DROP_INVALID);
	error = replace_address(skb, outer_l4 + ICMP_HEADER_BYTES, inner, was, address);
	if (error)
		return error;
	if (was_port != port) {
		if (key->l4_proto == IPPROTO_ICMP)
			port_at = ICMP_ID_AT;
		else
			port_at = inner == END_SOURCE ? 0 : sizeof(port);
		if (bpf_skb_store_bytes(skb, tuple->l4_offset + port_at, &port, sizeof(port), 0) <
			    0 ||
		    bpf_l4_csum_replace(skb, outer_l4 + ICMP_CHECKSUM_AT, was_port, port,
					sizeof(port)) < 0)
			return DROP(SOURCE_REWRITE_H, DROP_WRITE_ERROR);
	}
	/* A router on the way speaks for itself; the flow's own end is renamed. */
	return outer == was ? replace_address(skb, ETH_HLEN, end, was, address) : 0;
}

/* 0 or a drop. The tuple is the new packet's afterwards. */
static __noinline int rewrite(struct __sk_buff *skb, struct tuple *tuple, __u32 end, __be32 address,
			      __be16 port)
{
	struct ct_key *key = &tuple->key;
	__be32 was = end == END_SOURCE ? key->saddr : key->daddr;
	__be16 was_port = end == END_SOURCE ? key->sport : key->dport;
	__u64 flags = key->l4_proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 checksum = tuple->l4_offset + checksum_at(key->l4_proto), port_at;
	int error;

	if (tuple->kind == TUPLE_ICMP_ERROR) {
		error = rewrite_quoted(skb, tuple, end, address, port);
		if (error)
			return error;
		goto done;
	}
	if (was != address) {
		error = replace_own_address(skb, end, was, address);
		if (error)
			return error;
		if (tuple->has_l4 && key->l4_proto != IPPROTO_ICMP &&
		    bpf_l4_csum_replace(skb, checksum, was, address,
					flags | BPF_F_PSEUDO_HDR | sizeof(address)) < 0)
			return DROP(SOURCE_REWRITE_H, DROP_WRITE_ERROR);
	}
	if (tuple->has_l4 && was_port != port) {
		if (key->l4_proto == IPPROTO_ICMP)
			port_at = ICMP_ID_AT;
		else
			port_at = end == END_SOURCE ? 0 : sizeof(port);
		if (bpf_skb_store_bytes(skb, tuple->l4_offset + port_at, &port, sizeof(port), 0) <
			    0 ||
		    bpf_l4_csum_replace(skb, checksum, was_port, port, flags | sizeof(port)) < 0)
			return DROP(SOURCE_REWRITE_H, DROP_WRITE_ERROR);
	}
done:
	tuple->entry = NULL;
	if (end == END_SOURCE) {
		key->saddr = address;
		key->sport = port;
	} else {
		key->daddr = address;
		key->dport = port;
	}
	return 0;
}
