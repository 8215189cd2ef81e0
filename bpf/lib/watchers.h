/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether anybody reads cilium_events, and what nobody could read any more. */
#pragma once

#include <bpf/bpf_helpers.h>

#include "maps.h"

/* Whether somebody watches: what only an event tells need not be looked up otherwise. */
static __always_inline bool is_tracing(void)
{
	const struct runtime_info *runtime;
	__u32 index = 0;

	runtime = bpf_map_lookup_elem(&cilium_runtime, &index);
	return unlikely(runtime && runtime->trace);
}

static __noinline void count_lost_event(void)
{
	__u32 slot = 0;
	__u64 *lost = bpf_map_lookup_elem(&cilium_events_lost, &slot);

	if (lost)
		(*lost)++;
}
