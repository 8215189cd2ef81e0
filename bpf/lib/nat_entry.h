/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a translation is found: cilium_snat_v4_external and its keys. */
#pragma once

#include "conntrack.h"

static __always_inline struct nat_entry *nat_find(const struct nat_key *key, __u32 now)
{
	struct nat_entry *entry = bpf_map_lookup_elem(&cilium_snat_v4_external, key);

	return entry && (__s32)(entry->expires_s - now) > 0 ? entry : NULL;
}
