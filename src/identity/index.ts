export { IdentityAllocator, type IdentityStore, identityFor } from './allocator.ts';
export {
  identityObjectLabels,
  type LabelledNamespace,
  type LabelledPod,
  labelsFromMap,
  labelsToMap,
  sameLabels,
  securityLabels,
  sortLabels,
} from './labels.ts';
export {
  IDENTITY,
  identityText,
  isClusterIdentity,
  MAX_CLUSTER_IDENTITY,
  MIN_CLUSTER_IDENTITY,
  reservedIdentities,
  reservedLabels,
} from './reserved.ts';
