/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Out of the node without the host's network stack, by the kernel's own routes. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "config.h"
#include "stack.h"

#define IPV4_MOST_BYTES	    0xFFFF
#define FIRST_UNICAST	    0x01000000 /* 1.0.0.0; 0.0.0.0/8 is "this network", no destination */
#define FIRST_MULTICAST	    0xE0000000 /* 224.0.0.0; what follows is multicast, reserved or broadcast */
#define ADDRESS_FAMILY_IPV4 2	       /* AF_INET; <sys/socket.h> is no header for these programs */

static __always_inline bool is_unicast(__be32 ipv4)
{
	return bpf_ntohl(ipv4) - FIRST_UNICAST < FIRST_MULTICAST - FIRST_UNICAST;
}

static __always_inline int send_to_neighbour(struct __sk_buff *skb,
					     const struct ipv4_packet *packet,
					     const struct flow *flow, __u32 ifindex,
					     __be32 neighbour)
{
	struct bpf_redir_neigh next_hop = {
		.nh_family = ADDRESS_FAMILY_IPV4,
		.ipv4_nh = neighbour,
	};

	decrement_ttl(packet->ip);
	forwarded(skb, flow, TRACE_TO_NETWORK, SOURCE_FIB_H);
	return bpf_redirect_neigh(ifindex, &next_hop, sizeof(next_hop), 0);
}

/*
 * The route decides; the neighbour is left to bpf_redirect_neigh even where the
 * lookup has found it, because only that marks the neighbour as used: an entry
 * that is merely read is never verified again, and a moved gateway never noticed.
 * Every other answer (no route, too big, blackhole, forwarding off, local) goes
 * to the stack, which does what it always does, ICMP errors included. A route's
 * own mtu binds this helper only where it is locked; else the device's does.
 */
static __always_inline int route_from_pod(struct __sk_buff *skb, const struct ipv4_packet *packet,
					  const struct flow *flow)
{
	struct iphdr *ip = packet->ip;
	struct bpf_fib_lookup lookup = {
		.family = ADDRESS_FAMILY_IPV4,
		.l4_protocol = ip->protocol,
		.tos = ip->tos,
		.ipv4_src = ip->saddr,
		.ipv4_dst = ip->daddr,
		.ifindex = skb->ifindex,
	};
	__u32 packet_bytes = wire_bytes(skb, ip);
	int result;

	/*
	 * The lookup helper would send what is no unicast address along the default
	 * route, and take a size beyond its 16 bits for a small one.
	 */
	if (unlikely(!ttl_allows_forwarding(ip) || !is_unicast(ip->daddr) ||
		     packet_bytes > IPV4_MOST_BYTES))
		return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_FIB_H);
	lookup.tot_len = packet_bytes;
	result = bpf_fib_lookup(skb, &lookup, sizeof(lookup), 0);
	if (unlikely(result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH))
		return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_FIB_H);

	/* The gateway, or the destination itself on a link route. */
	return send_to_neighbour(skb, packet, flow, lookup.ifindex, lookup.ipv4_dst);
}

/*
 * To a node that is a neighbour: the agent made the route and this entry from
 * the same facts, so nothing is looked up. What does not fit is the stack's.
 */
static __always_inline int route_to_node(struct __sk_buff *skb, const struct ipv4_packet *packet,
					 const struct ipcache_info *remote, const struct flow *flow)
{
	if (unlikely(!ttl_allows_forwarding(packet->ip) ||
		     wire_bytes(skb, packet->ip) > cfg_route_mtu))
		return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_FIB_H);
	return send_to_neighbour(skb, packet, flow, cfg_direct_ifindex, remote->tunnel_endpoint);
}
