/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services, packet by packet. A flow keeps the backend that it was given as
 * long as that one is there; what it asked for is where its replies come from.
 */
#pragma once

#include "conntrack.h"
#include "endpoint.h"
#include "rewrite.h"
#include "service.h"

/* What a pod sees in place of itself, when a service has sent it to itself. */
#define CT_LOOPBACK_ADDRESS bpf_htonl(0xA9FE2A01) /* 169.254.42.1 */

enum lb_answer {
	LB_NO_SERVICE = 0,
	LB_CHOSEN = 1,
};

struct lb_choice {
	__be32 frontend;
	__be32 backend;
	__be16 frontend_port;
	__be16 backend_port;
	__u32 rev_nat_index;
	__u32 backend_id;
	__u16 service_flags; /* enum lb_service_flag */
	__u16 reserved;
	struct ct_entry *asked; /* the client's own CT_SERVICE entry, unless it is new */
};

enum lb_client {
	LB_CLIENT_INSIDE,
	LB_CLIENT_OUTSIDE,
};

/* Every node comes to the same number for the same client, wherever the packet arrives. */
static __always_inline __u32 flow_hash(const struct ct_key *key)
{
	__u32 hash = key->saddr * 0x9E3779B1;

	hash ^= ((__u32)key->sport << 16 | key->dport) * 0x85EBCA6B;
	hash ^= (hash >> 15) + key->daddr * 0xC2B2AE35 + key->l4_proto;
	hash *= 0x27D4EB2F;
	return hash ^ hash >> 16;
}

static __always_inline const struct lb4_backend *maglev_backend(const struct lb4_key *key,
								const struct lb4_service *service,
								const struct ct_key *flow,
								__u32 *backend_id)
{
	struct lb4_maglev_key table_key = {
		.rev_nat_index = service->rev_nat_index,
		.scope = key->scope,
	};
	const struct lb4_maglev *table = bpf_map_lookup_elem(&cilium_lb4_maglev, &table_key);
	__u32 slot;

	if (!table)
		return NULL;
	slot = flow_hash(flow) % LB_MAGLEV_TABLE;
	/* The verifier sees no remainder where the compiler has made a product of the division. */
	asm volatile("" : "+r"(slot));
	if (slot >= LB_MAGLEV_TABLE)
		return NULL;
	*backend_id = table->backend_id[slot];
	return lookup_backend(*backend_id);
}

static __always_inline bool in_source_range(const struct lb4_service *service, __be32 client)
{
	struct lb4_source_range_key key = {
		.prefixlen = 64,
		.rev_nat_index = service->rev_nat_index,
		.address = client,
	};

	return bpf_map_lookup_elem(&cilium_lb4_source_range, &key);
}

static __always_inline const struct lb4_service *master_of(struct lb4_key *key, __u32 client)
{
	if (client == LB_CLIENT_INSIDE)
		return lookup_service(key);
	key->backend_slot = 0;
	key->scope = LB_SCOPE_EXTERNAL;
	return bpf_map_lookup_elem(&cilium_lb4_services_v2, key);
}

/* Under 0.0.0.0 a node port stands for every address of the node, and for clients inside of every node. */
static __always_inline bool is_node_port_address(__be32 address, __u32 client)
{
	const struct endpoint_info *own = lookup_endpoint(address);
	__u32 identity;

	if (own)
		return own->flags & ENDPOINT_F_HOST;
	if (client == LB_CLIENT_OUTSIDE)
		return false;
	identity = identity_of_address(address);
	return identity == IDENTITY_HOST || identity == IDENTITY_REMOTE_NODE;
}

static __always_inline const struct lb4_service *find_service(struct lb4_key *key, __u32 client)
{
	const struct lb4_service *service = master_of(key, client);
	__be32 address = key->address;
	__u16 port = bpf_ntohs(key->dport);

	if (service || port < cfg_node_port_min || port > cfg_node_port_max)
		return service;
	key->address = 0;
	service = master_of(key, client);
	return service && is_node_port_address(address, client) ? service : NULL;
}

/* A backend for a flow that has none. */
static __always_inline const struct lb4_backend *new_backend(struct lb4_key *key,
							     const struct lb4_service *service,
							     const struct ct_key *flow,
							     __u32 *backend_id)
{
	struct lb4_affinity_key client = {
		.client = flow->saddr,
		.rev_nat_index = service->rev_nat_index,
	};
	const struct lb4_backend *backend = NULL;
	const struct lb4_affinity *memory;

	if (!service->count)
		return NULL;
	if (service->flags & LB_F_AFFINITY) {
		backend = remembered_backend(service, &client);
		memory = backend ? bpf_map_lookup_elem(&cilium_lb4_affinity, &client) : NULL;
		if (memory) {
			*backend_id = memory->backend_id;
			return lookup_backend(*backend_id);
		}
		backend = NULL;
	}
	if (service->flags & LB_F_MAGLEV)
		backend = maglev_backend(key, service, flow, backend_id);
	if (!backend)
		backend = random_backend(key, service, backend_id);
	if (backend && service->flags & LB_F_AFFINITY)
		remember_backend(&client, *backend_id);
	return backend;
}

/* Which backend a packet is for. LB_CHOSEN and the choice, LB_NO_SERVICE, or a drop. Changes no packet. */
static __noinline int lb_choose(struct __sk_buff *skb, const struct tuple *tuple,
				struct lb_choice *choice, __u32 client)
{
	struct lb4_key key = {
		.address = tuple->key.daddr,
		.dport = tuple->key.dport,
		.l4_proto = tuple->key.l4_proto,
	};
	const struct lb4_backend *backend = NULL;
	const struct lb4_service *service;
	struct ct_entry *entry, fresh = {};
	struct ct_key flow = tuple->key;
	__u32 now, backend_id = 0;

	service = find_service(&key, client);
	if (!service)
		return LB_NO_SERVICE;
	if (client == LB_CLIENT_OUTSIDE) {
		if (service->flags & LB_F_CLUSTER_IP)
			return DROP(SOURCE_LB_H, DROP_IS_CLUSTER_IP);
		if (service->flags & LB_F_SOURCE_RANGES && !in_source_range(service, flow.saddr))
			return DROP(SOURCE_LB_H, DROP_NOT_IN_SOURCE_RANGE);
	}
	now = tuple->now_s;
	flow.direction = CT_SERVICE;
	entry = ct_find(&flow, now);
	if (entry && entry->rev_nat_index == service->rev_nat_index) {
		backend_id = entry->backend_id;
		backend = lookup_backend(backend_id);
		/* New connections, on ports that another had, go where new ones go. */
		if (backend && is_syn(tuple) &&
		    (backend->state != LB_BACKEND_ACTIVE || is_ending(entry->expires_s, now)))
			backend = NULL;
	}
	if (!backend) {
		/* An error about a flow that nobody remembers is nobody's. */
		if (tuple->kind == TUPLE_ICMP_ERROR)
			return LB_NO_SERVICE;
		backend = new_backend(&key, service, &flow, &backend_id);
		if (!backend)
			return DROP(SOURCE_LB_H, DROP_NO_SERVICE_BACKEND);
		fresh.rev_nat_index = service->rev_nat_index;
		fresh.backend_id = backend_id;
		fresh.nat_address = backend->address;
		fresh.nat_port = backend->port;
		if (ct_insert(skb, &flow, &fresh, tuple, now) < 0)
			return DROP(SOURCE_LB_H, DROP_CT_INSERT);
		entry = NULL;
	}
	choice->frontend = flow.daddr;
	choice->frontend_port = flow.dport;
	choice->backend = backend->address;
	choice->backend_port = backend->port;
	choice->rev_nat_index = service->rev_nat_index;
	choice->backend_id = backend_id;
	choice->service_flags = service->flags;
	choice->asked = entry;
	return LB_CHOSEN;
}

/*
 * Notes the flow as the backend sees it, so that replies get the frontend's
 * address back. The client's own entry lives as long as this one: it sees the
 * client's packets only. 0 or a drop.
 */
static __noinline int lb_track(struct __sk_buff *skb, struct tuple *tuple,
			       const struct lb_choice *choice, __be32 client,
			       __u32 direction_and_flags)
{
	struct ct_entry *entry, *asked = choice->asked, fresh = {};
	__u16 flags = direction_and_flags >> 8;
	__u32 now = tuple->now_s;
	struct ct_key key;
	int error;

	if (tuple->kind == TUPLE_ICMP_ERROR)
		return 0;
	tuple->key.direction = direction_and_flags;
	entry = ct_find(&tuple->key, now);
	if (entry) {
		tuple->entry = entry;
		if (entry->nat_address != choice->frontend ||
		    entry->nat_port != choice->frontend_port) {
			entry->nat_address = choice->frontend;
			entry->nat_port = choice->frontend_port;
			entry->rev_nat_index = choice->rev_nat_index;
		}
		if ((entry->flags & flags) != flags)
			entry->flags |= flags;
		ct_note(skb, entry, tuple, false, now);
		fresh.expires_s = entry->expires_s;
	} else {
		fresh.rev_nat_index = choice->rev_nat_index;
		fresh.nat_address = choice->frontend;
		fresh.nat_port = choice->frontend_port;
		fresh.flags = flags;
		error = ct_insert(skb, &tuple->key, &fresh, tuple, now);
		if (error)
			return error;
	}
	if (!asked) {
		key = tuple->key;
		key.saddr = client;
		key.daddr = choice->frontend;
		key.dport = choice->frontend_port;
		key.direction = CT_SERVICE;
		asked = ct_lookup(&key);
	}
	if (asked && asked->expires_s != fresh.expires_s)
		asked->expires_s = fresh.expires_s;
	return 0;
}
