export { connectionSummary, type Dissection, dissect } from './dissect.ts';
export {
  type DatapathEvent,
  type EventFilter,
  type EventLookups,
  eventMatches,
  eventToJson,
  formatEvent,
} from './format.ts';
export { reasonText, sourceFileText } from './reasons.ts';
