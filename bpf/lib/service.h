/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a frontend to one of its backends, for clients in the cluster. No packet, no socket: maps only. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "maps.h"

#define NS_PER_S 1000000000ULL

/* The master entry that counts for a client in the cluster; leaves its scope in the key. */
static __always_inline const struct lb4_service *lookup_service(struct lb4_key *key)
{
	const struct lb4_service *service;

	key->backend_slot = 0;
	key->scope = LB_SCOPE_EXTERNAL;
	service = bpf_map_lookup_elem(&cilium_lb4_services_v2, key);
	if (!service || !(service->flags & LB_F_TWO_SCOPES))
		return service;
	key->scope = LB_SCOPE_INTERNAL;
	return bpf_map_lookup_elem(&cilium_lb4_services_v2, key);
}

static __always_inline const struct lb4_backend *lookup_backend(__u32 backend_id)
{
	struct lb4_backend_key key = { .backend_id = backend_id };

	return bpf_map_lookup_elem(&cilium_lb4_backends_v3, &key);
}

/* Any of the service's backends. */
static __always_inline const struct lb4_backend *
random_backend(struct lb4_key *key, const struct lb4_service *service, __u32 *backend_id)
{
	const struct lb4_service *slot;

	if (!service->count)
		return NULL;
	key->backend_slot = bpf_get_prandom_u32() % service->count + 1;
	slot = bpf_map_lookup_elem(&cilium_lb4_services_v2, key);
	if (!slot)
		return NULL;
	*backend_id = slot->backend_id;
	return lookup_backend(slot->backend_id);
}

/* The backend that the client was given before, while that is recent and takes new clients. */
static __always_inline const struct lb4_backend *
remembered_backend(const struct lb4_service *service, const struct lb4_affinity_key *client)
{
	struct lb4_affinity *memory = bpf_map_lookup_elem(&cilium_lb4_affinity, client);
	const struct lb4_backend *backend;
	__u64 now = bpf_ktime_get_ns();

	if (!memory || now - memory->last_used_ns > service->affinity_timeout_s * NS_PER_S)
		return NULL;
	backend = lookup_backend(memory->backend_id);
	if (!backend || backend->state != LB_BACKEND_ACTIVE)
		return NULL;
	memory->last_used_ns = now;
	return backend;
}

static __always_inline void remember_backend(const struct lb4_affinity_key *client,
					     __u32 backend_id)
{
	struct lb4_affinity memory = {
		.last_used_ns = bpf_ktime_get_ns(),
		.backend_id = backend_id,
	};

	bpf_map_update_elem(&cilium_lb4_affinity, client, &memory, BPF_ANY);
}
