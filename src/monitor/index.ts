export { connectionSummary, type Dissection, dissect } from './dissect.ts';
export { type EventFilter, eventMatches } from './filter.ts';
export { type EventLookups, eventToJson, formatEvent } from './format.ts';
export { reasonText, sourceFileText } from './reasons.ts';
export { formatSocketEvent, socketEventToJson } from './socket.ts';
export { formatVerbose } from './verbose.ts';
