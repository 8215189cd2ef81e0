import { FimbriaError } from '../base/errors.ts';

/** Where a value was written, for messages: `values: ipam.mode` or `config: ipam`. */
export interface Place {
  readonly source: 'values' | 'config';
  readonly key: string;
}

/** The one shape of a complaint about configuration: `values: PATH: WHY; HINT`, code BAD_VALUES. */
export function badValue(place: Place, why: string, hint?: string): FimbriaError {
  return new FimbriaError({
    code: 'BAD_VALUES',
    op: place.source,
    why: `${place.key}: ${why}`,
    ...(hint === undefined ? {} : { hint }),
  });
}
