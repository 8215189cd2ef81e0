/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One record per event in cilium_events. Never on the fast path: drops, and packets while tracing is on. */
#pragma once

#include <bpf/bpf_helpers.h>

#include "flow.h"
#include "watchers.h"

/* What was before the packet became what it is. */
struct packet_history {
	__be32 original_source;
	__be32 frontend;
	__be16 frontend_port;
	__u8 ct_state; /* enum ct_state */
	__u8 reserved;
};

/* Scalars only, so that callers need not spill their flow to the stack on the way to a forwarding verdict. */
static __noinline void emit_event(struct __sk_buff *skb, __u32 what, __u32 line_and_endpoint,
				  __u64 identities, const struct packet_history *history)
{
	__u32 captured = skb->len;
	struct event *event;

	event = bpf_ringbuf_reserve(&cilium_events, sizeof(*event), 0);
	if (!event) { /* nobody reads, or not fast enough: the metric has counted the packet */
		count_lost_event();
		return;
	}

	event->time_ns = bpf_ktime_get_ns();
	event->type = what;
	event->code = what >> 8;
	event->direction = what >> 16;
	event->source_file = what >> 24;
	event->source_line = line_and_endpoint;
	event->endpoint_id = line_and_endpoint >> 16;
	event->source_identity = identities >> 32;
	event->destination_identity = identities;
	event->ifindex = skb->ifindex;
	event->flow_hash = skb->hash;
	event->mark = skb->mark;
	event->packet_bytes = captured;
	event->ct_state = history ? history->ct_state : CT_STATE_UNKNOWN;
	event->original_source = history ? history->original_source : 0;
	event->frontend = history ? history->frontend : 0;
	event->frontend_port = history ? history->frontend_port : 0;
	event->reserved = 0;
	event->reserved2[0] = 0;
	event->reserved2[1] = 0;
	__builtin_memset(event->packet, 0, sizeof(event->packet));
	if (captured > EVENT_PACKET_BYTES)
		captured = EVENT_PACKET_BYTES;
	/* An empty or unreadable frame leaves an event without bytes rather than no event. */
	if (captured == 0 || bpf_skb_load_bytes(skb, 0, event->packet, captured) < 0)
		captured = 0;
	event->captured_bytes = captured;
	/* Wake the reader only when it sleeps: the kernel does that by itself with no flags. */
	bpf_ringbuf_submit(event, 0);
}

/* A packet that goes on, with its history (history.h). Scalars as above. */
int trace_packet(struct __sk_buff *skb, __u32 what, __u32 line_and_endpoint, __u64 identities);

static __always_inline void emit_trace(struct __sk_buff *skb, const struct flow *flow,
				       enum trace_point point, enum source_file file, __u16 line)
{
	trace_packet(skb,
		     EVENT_TRACE | (__u32)point << 8 | (__u32)flow->direction << 16 |
			     (__u32)file << 24,
		     line | (__u32)flow->endpoint_id << 16,
		     (__u64)flow->source_identity << 32 | flow->destination_identity);
}
