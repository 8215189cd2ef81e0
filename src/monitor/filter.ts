import type { DatapathEvent, SocketEvent } from '../maps/events.ts';
import { destinationEndpoint, sourceEndpoint } from './format.ts';

/** What a client wants to see; absent means all. `from`, `to` and `related` are endpoint ids. */
export interface EventFilter {
  readonly types?: readonly string[];
  readonly from?: readonly number[];
  readonly to?: readonly number[];
  readonly related?: readonly number[];
}

/** Whether an event passes a filter. Every condition given must hold; a socket is no endpoint's. Pure. */
export function eventMatches(event: DatapathEvent | SocketEvent, filter: EventFilter): boolean {
  if (filter.types !== undefined && filter.types.length > 0 && !filter.types.includes(event.type))
    return false;
  const asks = (ids: readonly number[] | undefined): ids is readonly number[] =>
    ids !== undefined && ids.length > 0;
  if (event.type === 'trace-sock') return ![filter.from, filter.to, filter.related].some(asks);
  if (asks(filter.from) && !filter.from.includes(sourceEndpoint(event))) return false;
  if (asks(filter.to) && !filter.to.includes(destinationEndpoint(event))) return false;
  return !asks(filter.related) || filter.related.includes(event.endpointId);
}
