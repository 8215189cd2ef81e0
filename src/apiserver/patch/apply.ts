import { codeOf, messageOf } from '../../base/errors.ts';
import type { Kind } from '../../model/kinds.ts';
import { messageOfKind } from '../../model/kubernetes/fields.ts';
import { ApiFailure, badRequest } from '../failure.ts';
import { isObject, type Json, type JsonObject } from './json.ts';
import { applyJsonPatch } from './json-patch.ts';
import { applyMergePatch } from './merge-patch.ts';
import { mergeSchemaOf } from './merge-schema.ts';
import { applyStrategicPatch } from './strategic-patch.ts';

const JSON_PATCH = 'application/json-patch+json';
const MERGE_PATCH = 'application/merge-patch+json';
const STRATEGIC_PATCH = 'application/strategic-merge-patch+json';

/** The media types of patches that are understood. */
export const PATCH_TYPES: readonly string[] = [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH];

/** The media types of patches that objects of a kind take: how lists of custom kinds merge, nobody knows. */
export function patchTypesOf(kind: Kind): readonly string[] {
  return kind.custom ? PATCH_TYPES.filter(type => type !== STRATEGIC_PATCH) : PATCH_TYPES;
}

/**
 * Applies a patch to an object of a kind. Pure.
 * @throws ApiFailure 400 when the patch is malformed, 422 when it does not apply to this object
 */
export function applyPatch(kind: Kind, target: JsonObject, contentType: string, patch: unknown): unknown {
  if (contentType !== JSON_PATCH && !isObject(patch)) throw badRequest('a patch of this type is an object');
  try {
    switch (contentType) {
      case JSON_PATCH:
        return applyJsonPatch(target, patch);
      case MERGE_PATCH:
        return applyMergePatch(target, patch as Json);
      default:
        return applyStrategicPatch(target, patch as JsonObject, mergeSchemaOf(messageOfKind(kind)));
    }
  } catch (error) {
    if (codeOf(error) !== 'TEST_FAILED') throw badRequest(messageOf(error));
    throw new ApiFailure(
      422,
      'Invalid',
      `the server rejected our request due to an error in our request: ${messageOf(error)}`,
    );
  }
}
