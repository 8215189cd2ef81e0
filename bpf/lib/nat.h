/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets that leave with an address of this node, and the way back. A port is
 * kept where it can be. None is taken that a socket of the node answers at, nor
 * one of services: what comes back is told apart by all five fields, so a port
 * serves as many flows as they have destinations.
 */
#pragma once

#include "config.h"
#include "nat_entry.h"
#include "rewrite.h"

#define NAT_FIRST_PORT 1024
#define NAT_PORTS      (65536 - NAT_FIRST_PORT)
/* With all but a thirtieth of the ports in use one flow in fifty has to ask twice. */
#define NAT_TRIES 128

static __always_inline bool is_service_port(__u16 port)
{
	return port >= cfg_node_port_min && port <= cfg_node_port_max;
}

static __always_inline __u16 random_port(void)
{
	__u32 services = cfg_node_port_max - cfg_node_port_min + 1;
	__u16 port = NAT_FIRST_PORT + bpf_get_prandom_u32() % (NAT_PORTS - services);

	return port < cfg_node_port_min ? port : port + services;
}

/* A socket of the node would take what comes back for its own. Of the key, a socket's tuple is the first twelve bytes. */
static __noinline int is_of_host(struct __sk_buff *skb, const struct nat_key *in)
{
	struct bpf_sock_tuple tuple = {
		.ipv4 = {
			.saddr = in->saddr,
			.daddr = in->daddr,
			.sport = in->sport,
			.dport = in->dport,
		},
	};
	struct bpf_sock *sock = NULL;

	if (in->l4_proto == IPPROTO_TCP)
		sock = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	else if (in->l4_proto == IPPROTO_UDP)
		sock = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sock)
		return 0;
	bpf_sk_release(sock);
	return 1;
}

/* What comes back is addressed to the new source; an echo's identifier is at the end of who asked. */
static __always_inline void nat_in_key(struct nat_key *in, const struct nat_key *out,
				       __be32 address, __be16 port)
{
	set_reverse_key(in, out, NAT_IN);
	in->daddr = address;
	in->dport = port;
}

/*
 * Claims a port for the way back: 0 when it is this flow's now. Not static: such
 * a function is verified once and not at every one of its calls, of which there
 * are hundreds.
 */
__noinline int nat_claim(struct __sk_buff *skb, const struct nat_key *in,
			 const struct nat_entry *back, __u32 now)
{
	struct nat_entry *held;
	int error;

	if (!in || !back)
		return 1;
	error = bpf_map_update_elem(&cilium_snat_v4_external, in, back, BPF_NOEXIST);
	if (error) {
		held = bpf_map_lookup_elem(&cilium_snat_v4_external, in);
		if (!held)
			return 1;
		/* Nobody's any more, or the flow's own, whose other entry went for want of room. */
		if ((__s32)(held->expires_s - now) > 0 &&
		    (held->address != back->address || held->port != back->port))
			return 1;
		if (bpf_map_update_elem(&cilium_snat_v4_external, in, back, BPF_ANY) < 0)
			return 1;
	}
	if (!is_of_host(skb, in))
		return 0;
	bpf_map_delete_elem(&cilium_snat_v4_external, in);
	return 1;
}

/* A translation for a new flow. 0 or a drop; `port` is what it leaves with. */
static __noinline int nat_open(struct __sk_buff *skb, const struct tuple *tuple, __be32 address,
			       __be16 *port, __u32 now)
{
	struct life life = {};
	struct nat_key out, in;
	struct nat_entry back = {}, forth = {};
	__u16 wanted = bpf_ntohs(tuple->key.sport);
	__u32 i;

	set_key(&out, &tuple->key, NAT_OUT);
	live_on(&life, tuple, false, now);
	write_life(&back, &life);
	back.created_s = now;
	back.address = out.saddr;
	back.port = out.sport;
	/* An echo's identifier is nobody's service. The node's own flow is here because its port is taken. */
	if (out.l4_proto != IPPROTO_ICMP &&
	    (wanted < NAT_FIRST_PORT || is_service_port(wanted) || out.saddr == address))
		wanted = random_port();
	for (i = 0; i < NAT_TRIES; i++) {
		nat_in_key(&in, &out, address, bpf_htons(wanted));
		if (nat_claim(skb, &in, &back, now) == 0)
			goto claimed;
		wanted = random_port();
	}
	return DROP(SOURCE_NAT_H, DROP_NO_NAT_MAPPING);
claimed:
	forth = back;
	forth.address = address;
	forth.port = in.dport;
	if (bpf_map_update_elem(&cilium_snat_v4_external, &out, &forth, BPF_ANY) < 0) {
		bpf_map_delete_elem(&cilium_snat_v4_external, &in);
		return DROP(SOURCE_NAT_H, DROP_NO_NAT_MAPPING);
	}
	*port = in.dport;
	return 0;
}

/* Both entries of a pair know of every packet, so that none of them is given up before the other. */
static __always_inline void nat_note(struct nat_entry *entry, struct nat_entry *twin,
				     const struct tuple *tuple, bool is_reply, __u32 now)
{
	struct life life = read_life(entry);

	if (tuple->kind == TUPLE_ICMP_ERROR)
		return;
	live_on(&life, tuple, is_reply, now);
	write_life(entry, &life);
	if (twin)
		write_life(twin, &life);
}

/* Gives the packet the node's address as its source. 0 or a drop. */
static __noinline int nat_out(struct __sk_buff *skb, struct tuple *tuple, __be32 address)
{
	__u32 now = tuple->now_s;
	struct nat_entry *entry, *twin;
	struct nat_key out, in;
	__be16 port;
	int error;

	set_key(&out, &tuple->key, NAT_OUT);
	entry = nat_find(&out, now);
	if (entry && entry->address == address) {
		port = entry->port;
		nat_in_key(&in, &out, address, port);
		twin = bpf_map_lookup_elem(&cilium_snat_v4_external, &in);
		/* Without the way back, which went for want of room, the flow starts anew. */
		if (twin && twin->address == out.saddr && twin->port == out.sport) {
			nat_note(entry, twin, tuple, false, now);
			return rewrite(skb, tuple, END_SOURCE, address, port);
		}
	}
	if (tuple->kind == TUPLE_ICMP_ERROR)
		return DROP(SOURCE_NAT_H, DROP_NO_NAT_MAPPING);
	error = nat_open(skb, tuple, address, &port, now);
	return error ?: rewrite(skb, tuple, END_SOURCE, address, port);
}

/* The way back: 1 when the packet has its old destination again, 0 when it is no such packet, or a drop. */
static __noinline int nat_in(struct __sk_buff *skb, struct tuple *tuple)
{
	__u32 now = tuple->now_s;
	struct nat_entry *entry, *twin;
	struct nat_key in, out;
	__be32 address;
	__be16 port;

	set_key(&in, &tuple->key, NAT_IN);
	entry = nat_find(&in, now);
	if (!entry)
		return 0;
	address = entry->address;
	port = entry->port;
	set_reverse_key(&out, &in, NAT_OUT);
	out.saddr = address;
	out.sport = port;
	twin = bpf_map_lookup_elem(&cilium_snat_v4_external, &out);
	nat_note(entry, twin, tuple, true, now);
	return rewrite(skb, tuple, END_DESTINATION, address, port) ?: 1;
}
