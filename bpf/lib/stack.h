/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Handing a pod's packet to the host's network stack, with its identity. */
#pragma once

#include "mark.h"
#include "verdict.h"

#define to_stack(skb, flow, point, file) to_stack_at(skb, flow, point, file, __LINE__)

static __always_inline int to_stack_at(struct __sk_buff *skb, const struct flow *flow,
				       enum trace_point point, enum source_file file, __u16 line)
{
	set_mark(skb, flow->translated ? MARK_MAGIC_TRANSLATED
				       : mark_of_identity(flow->source_identity));
	forwarded_at(skb, flow, point, file, line);
	return TC_ACT_OK;
}
