import { FimbriaError } from '../base/errors.ts';
import { type Kind, qualifiedResource } from '../model/kinds.ts';
import type { Status, StatusCause } from '../model/types.ts';

/** A refused request, with the Status object that Kubernetes would answer. Immutable. */
export class ApiFailure extends FimbriaError {
  readonly httpStatus: number;
  readonly status: Status;

  constructor(httpStatus: number, reason: string, message: string, details: Status['details'] = {}) {
    super({ code: reason === '' ? 'REFUSED' : reason, op: 'serve', object: 'request', why: message });
    this.name = 'ApiFailure';
    this.httpStatus = httpStatus;
    this.status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason,
      details,
      code: httpStatus,
    };
  }
}

/** One thing that is wrong with an object, in the words of Kubernetes' `field.Error`. */
export interface FieldFault {
  /** `spec.containers[0].name` */
  field: string;
  type:
    | 'Required value'
    | 'Invalid value'
    | 'Unsupported value'
    | 'Duplicate value'
    | 'Forbidden'
    | 'Too long';
  /** The offending value; where there is one it is shown for all types but Required, Forbidden and Too long. */
  value?: unknown;
  detail?: string;
}

const FAULT_REASONS: Record<FieldFault['type'], string> = {
  'Required value': 'FieldValueRequired',
  'Invalid value': 'FieldValueInvalid',
  'Unsupported value': 'FieldValueNotSupported',
  'Duplicate value': 'FieldValueDuplicate',
  Forbidden: 'FieldValueForbidden',
  'Too long': 'FieldValueTooLong',
};

function detailsOf(kind: Kind, name: string): NonNullable<Status['details']> {
  return { name, ...(kind.group !== '' && { group: kind.group }), kind: kind.plural };
}

export function notFound(kind: Kind, name: string): ApiFailure {
  const message = `${qualifiedResource(kind)} "${name}" not found`;
  return new ApiFailure(404, 'NotFound', message, detailsOf(kind, name));
}

/** The path leads nowhere: an unknown group, version, resource or subresource. */
export function noSuchResource(): ApiFailure {
  return new ApiFailure(404, 'NotFound', 'the server could not find the requested resource');
}

export function alreadyExists(kind: Kind, name: string, generated: boolean): ApiFailure {
  const suffix = generated ? ', the server was not able to generate a unique name for the object' : '';
  const message = `${qualifiedResource(kind)} "${name}" already exists${suffix}`;
  return new ApiFailure(409, 'AlreadyExists', message, detailsOf(kind, name));
}

export function conflict(kind: Kind, name: string, why: string, subresource = ''): ApiFailure {
  const message = `Operation cannot be fulfilled on ${qualifiedResource(kind)}${subresource} "${name}": ${why}`;
  return new ApiFailure(409, 'Conflict', message, detailsOf(kind, name));
}

export function modified(kind: Kind, name: string): ApiFailure {
  const why = 'the object has been modified; please apply your changes to the latest version and try again';
  return conflict(kind, name, why);
}

export function forbidden(kind: Kind, name: string, why: string, causes?: StatusCause[]): ApiFailure {
  const message = `${qualifiedResource(kind)} "${name}" is forbidden: ${why}`;
  return new ApiFailure(403, 'Forbidden', message, { ...detailsOf(kind, name), ...(causes && { causes }) });
}

export function badRequest(message: string): ApiFailure {
  return new ApiFailure(400, 'BadRequest', message);
}

export function methodNotAllowed(): ApiFailure {
  const message = 'the server does not allow this method on the requested resource';
  return new ApiFailure(405, 'MethodNotAllowed', message);
}

export function unsupportedMediaType(accepted: readonly string[]): ApiFailure {
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`;
  return new ApiFailure(415, 'UnsupportedMediaType', message);
}

/** The history does not reach back to the version that was asked for. */
export function expired(message: string): ApiFailure {
  return new ApiFailure(410, 'Expired', message);
}

/** A client knows a version that this server has not reached: it has talked to another one. */
export function tooLargeVersion(asked: number, current: number): ApiFailure {
  const message = `Timeout: Too large resource version: ${asked}, current: ${current}`;
  return new ApiFailure(504, 'Timeout', message, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

/** The object breaks the rules of its kind. `faults` is not empty. */
export function invalid(kind: Kind, name: string, faults: FieldFault[]): ApiFailure {
  const texts = faults.map(fault => `${fault.field}: ${faultText(fault)}`);
  const all = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const subject = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`;
  return new ApiFailure(422, 'Invalid', `${subject} "${name}" is invalid: ${all}`, {
    name,
    ...(kind.group !== '' && { group: kind.group }),
    kind: kind.kind,
    causes: faults.map(fault => ({
      reason: FAULT_REASONS[fault.type],
      message: faultText(fault),
      field: fault.field,
    })),
  });
}

function faultText(fault: FieldFault): string {
  const parts: string[] = [fault.type];
  const shown =
    Object.hasOwn(fault, 'value') && !['Required value', 'Forbidden', 'Too long'].includes(fault.type);
  if (shown) parts.push(showValue(fault.value));
  if (fault.detail) parts.push(fault.detail);
  return parts.join(': ');
}

function showValue(value: unknown): string {
  return value === undefined ? 'null' : JSON.stringify(value);
}
