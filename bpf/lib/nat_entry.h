/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a translation is found: cilium_snat_v4_external and its keys. */
#pragma once

#include "conntrack.h"

static __always_inline struct nat_entry *nat_find(const struct nat_key *key, __u32 now)
{
	struct nat_entry *entry = bpf_map_lookup_elem(&cilium_snat_v4_external, key);

	return entry && (__s32)(entry->expires_s - now) > 0 ? entry : NULL;
}

static __always_inline void nat_key_of(struct nat_key *key, const struct ct_key *tuple,
				       enum nat_direction direction)
{
	key->saddr = tuple->saddr;
	key->daddr = tuple->daddr;
	key->sport = tuple->sport;
	key->dport = tuple->dport;
	key->l4_proto = tuple->l4_proto;
	key->direction = direction;
	key->reserved[0] = 0;
	key->reserved[1] = 0;
}

/* The other way round: what answers this packet, or what this one answers. */
static __always_inline void nat_key_against(struct nat_key *key, const struct ct_key *tuple,
					    enum nat_direction direction)
{
	key->saddr = tuple->daddr;
	key->daddr = tuple->saddr;
	key->sport = tuple->dport;
	key->dport = tuple->sport;
	key->l4_proto = tuple->l4_proto;
	key->direction = direction;
	key->reserved[0] = 0;
	key->reserved[1] = 0;
}
