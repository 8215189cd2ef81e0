/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How every packet leaves a program: forwarded() counts and traces, DROP() makes
 * a negative value that travels up to the entry program's finish(), the only
 * place where a packet is shot. Nothing is dropped in silence.
 */
#pragma once

#include <linux/pkt_cls.h>

#include "events.h"
#include "metrics.h"

/* Negative: reason in the lowest byte, then the line (16 bits), then the file (7 bits). */
#define DROP(file, reason) (-(int)((reason) | __LINE__ << 8 | (file) << 24))

static __noinline int drop_packet(struct __sk_buff *skb, int verdict, __u64 identities,
				  __u32 endpoint_and_direction)
{
	__u32 where = -verdict;
	__u8 reason = where;
	__u16 line = where >> 8;
	__u8 file = where >> 24;
	__u8 direction = endpoint_and_direction;

	count_packet(skb, reason, direction, file, line);
	emit_event(skb,
		   EVENT_DROP | (__u32)reason << 8 | (__u32)direction << 16 | (__u32)file << 24,
		   line | endpoint_and_direction >> 16 << 16, identities, NULL);
	return TC_ACT_SHOT;
}

/* The one exit of every entry program. */
static __always_inline int finish(struct __sk_buff *skb, int verdict, const struct flow *flow)
{
	if (unlikely(verdict < 0))
		return drop_packet(skb, verdict,
				   (__u64)flow->source_identity << 32 | flow->destination_identity,
				   flow->direction | (__u32)flow->endpoint_id << 16);
	return verdict;
}

/* Counts and, while tracing is on, reports a packet that goes on. To be called before the packet changes device. */
static __always_inline void forwarded_at(struct __sk_buff *skb, const struct flow *flow,
					 enum trace_point point, enum source_file file, __u16 line)
{
	count_packet(skb, REASON_FORWARDED, flow->direction, file, line);
	if (is_tracing())
		emit_trace(skb, flow, point, file, line);
}

#define forwarded(skb, flow, point, file) forwarded_at(skb, flow, point, file, __LINE__)
