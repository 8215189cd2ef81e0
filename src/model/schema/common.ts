import { z } from 'zod';
import { isIpv4, isIpv6, parseIpv4Cidr, parseIpv6Cidr } from '../../base/addr.ts';

/**
 * Building blocks of the schemas. Messages are Kubernetes' own, for they reach people beside the field's path.
 * `.meta` holds what JSON schema calls the same.
 */

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED_PART = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** One rule for a text: why it is broken, or undefined. */
export type TextRule = (text: string) => string | undefined;

export const dnsLabelRule: TextRule = text =>
  text.length <= 63 && LABEL.test(text)
    ? undefined
    : "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

export const dns1035LabelRule: TextRule = text =>
  text.length <= 63 && LABEL_1035.test(text)
    ? undefined
    : "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

export const dnsSubdomainRule: TextRule = text =>
  text.length <= 253 && SUBDOMAIN.test(text)
    ? undefined
    : "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const qualifiedNameRule: TextRule = text => {
  const [name = '', prefix, ...more] = text.split('/').reverse();
  const fine =
    more.length === 0 &&
    name.length <= 63 &&
    QUALIFIED_PART.test(name) &&
    (prefix === undefined || dnsSubdomainRule(prefix) === undefined);
  return fine
    ? undefined
    : "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
};

const labelValueRule: TextRule = text =>
  text === '' || (text.length <= 63 && QUALIFIED_PART.test(text))
    ? undefined
    : "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/**
 * What {@link import('../crd/json-schema.ts').ValidationRule} says of a schema: part of the kind's CustomResourceDefinition
 * for Kubernetes, and evaluated by the embedded server.
 */
export function rules(
  ...list: { rule: string; message: string; fieldPath?: string }[]
): Record<string, unknown> {
  return { 'x-kubernetes-validations': list };
}

/** A string under a rule. */
export function text(rule: TextRule): z.ZodString {
  return z.string().check(context => {
    const message = rule(context.value);
    if (message !== undefined) context.issues.push({ code: 'custom', message, input: context.value });
  });
}

function formatted(format: string, test: (text: string) => boolean): z.ZodString {
  return text(value => (test(value) ? undefined : `must be of type ${format}`)).meta({ format });
}

function succeeds(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch {
    return false;
  }
}

export const ipv4 = formatted('ipv4', isIpv4);
export const ipv6 = formatted('ipv6', isIpv6);
export const ip = text(value => (isIpv4(value) || isIpv6(value) ? undefined : 'must be of type ip')).meta({
  anyOf: [{ format: 'ipv4' }, { format: 'ipv6' }],
});
/** Also the empty text, which Cilium writes for an address that is not there. */
export const ipv4OrEmpty = text(value =>
  value === '' || isIpv4(value) ? undefined : 'must be of type ipv4',
);
export const ipv6OrEmpty = text(value =>
  value === '' || isIpv6(value) ? undefined : 'must be of type ipv6',
);
/** Host bits may be set, as Kubernetes' format `cidr` has it. */
export const cidr = formatted(
  'cidr',
  value =>
    succeeds(() => parseIpv4Cidr(value, { hostBits: 'clear' })) ||
    succeeds(() => parseIpv6Cidr(value, { hostBits: 'clear' })),
);
export const dateTime = formatted(
  'date-time',
  value =>
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(value) &&
    !Number.isNaN(Date.parse(value)),
);

export const nonEmpty = z.string().min(1);
export const stringMap = z.record(z.string(), z.string());
export const portNumber = z.int().min(1).max(65535);
export const protocol = z.enum(['TCP', 'UDP', 'SCTP']);

/** Keys and values as labels may have them. Faults of a key are reported on the map. */
export const labelMap = stringMap.check(context => {
  for (const [key, value] of Object.entries(context.value)) {
    const keyFault = qualifiedNameRule(key);
    if (keyFault)
      context.issues.push({ code: 'custom', message: keyFault, input: key, params: { value: key } });
    const valueFault = labelValueRule(value);
    if (valueFault) {
      context.issues.push({ code: 'custom', message: valueFault, input: value, params: { value } });
    }
  }
});

const annotationMap = stringMap.check(context => {
  for (const key of Object.keys(context.value)) {
    const message = qualifiedNameRule(key.toLowerCase());
    if (message) context.issues.push({ code: 'custom', message, input: key, params: { value: key } });
  }
});

export const labelSelector = z.object({
  matchLabels: labelMap.optional(),
  matchExpressions: z
    .array(
      z.object({
        key: text(qualifiedNameRule),
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: z.array(text(labelValueRule)).optional(),
      }),
    )
    .optional(),
});

export const condition = z.looseObject({
  type: nonEmpty,
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string().optional(),
  message: z.string().optional(),
});

const ownerReference = z.object({
  apiVersion: nonEmpty,
  kind: nonEmpty,
  name: nonEmpty,
  uid: nonEmpty,
  controller: z.boolean().optional(),
  blockOwnerDeletion: z.boolean().optional(),
});

/** Everything of `metadata` but the rule for names, which differs. */
export const objectMeta = z.object({
  name: z.string().optional(),
  generateName: z.string().optional(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.int().optional(),
  creationTimestamp: dateTime.optional(),
  deletionTimestamp: dateTime.optional(),
  deletionGracePeriodSeconds: z.int().optional(),
  labels: labelMap.optional(),
  annotations: annotationMap.optional(),
  ownerReferences: z.array(ownerReference).optional(),
  finalizers: z.array(text(qualifiedNameRule)).optional(),
});

/** Reports elements of a list that have the same name. `path` is the list's field within the checked value. */
export function duplicates(
  items: readonly unknown[] | undefined,
  field: string,
  report: (index: number, value: unknown) => void,
): void {
  const seen = new Set<unknown>();
  for (const [index, item] of (items ?? []).entries()) {
    const value = (item as Record<string, unknown> | undefined)?.[field];
    if (value !== undefined && seen.has(value)) report(index, value);
    seen.add(value);
  }
}
