export { connectionSummary, type Dissection, dissect } from './dissect.ts';
export {
  type DatapathEvent,
  destinationEndpoint,
  type EventFilter,
  type EventLookups,
  eventMatches,
  eventToJson,
  formatEvent,
  sourceEndpoint,
} from './format.ts';
export { FIRST_DROP_REASON, reasonText, sourceFileText } from './reasons.ts';
