/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Counting: one lookup per verdict. */
#pragma once

#include <bpf/bpf_helpers.h>

#include "maps.h"

/* The first packet with this key on any CPU. BPF_ANY touches this CPU's value only, so losing the race to another CPU loses no count. */
static __noinline void count_first(struct __sk_buff *skb, __u64 packed_key)
{
	struct metrics_value first = { .packets = 1, .bytes = skb->len };

	bpf_map_update_elem(&cilium_metrics, &packed_key, &first, BPF_ANY);
}

static __always_inline void count_packet(struct __sk_buff *skb, __u8 reason,
					 enum direction direction, enum source_file file,
					 __u16 line)
{
	struct metrics_key key = {
		.reason = reason,
		.direction = direction,
		.source_line = line,
		.source_file = file,
	};
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_metrics, &key);

	if (likely(value)) {
		value->packets++;
		value->bytes += skb->len;
	} else {
		count_first(skb, *(__u64 *)&key);
	}
}
