import { z } from 'zod';
import { type Operation, operations } from './schema.ts';

type Json = Record<string, unknown>;

/** JSON schema of the input side of a zod schema, without what OpenAPI keeps elsewhere. */
function jsonSchema(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Json;
  return rest;
}

function parameters(schema: z.ZodType | undefined, place: 'path' | 'query' | 'header'): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = jsonSchema(schema) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    required: required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

function describe(name: string, operation: Operation): Json {
  const responses = Object.entries(operation.responses).map(([status, response]) => [
    status,
    {
      description: response.description,
      ...(response.schema === undefined
        ? {}
        : {
            content: {
              [response.contentType ?? 'application/json']: { schema: jsonSchema(response.schema) },
            },
          }),
    },
  ]);
  return {
    operationId: name,
    summary: operation.summary,
    parameters: [
      ...parameters(operation.params, 'path'),
      ...parameters(operation.query, 'query'),
      ...parameters(operation.headers, 'header'),
    ],
    ...(operation.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: jsonSchema(operation.body) } },
          },
        }),
    responses: Object.fromEntries(responses),
  };
}

/** The OpenAPI 3.1 document of the agent's interface, made from the schemas that validate requests. Pure. */
export function openApiDocument(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const [name, operation] of Object.entries(operations) as [string, Operation][]) {
    const path = paths[operation.path] ?? {};
    path[operation.method] = describe(name, operation);
    paths[operation.path] = path;
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Fimbria agent', version, description: 'Spoken over the agent’s unix socket.' },
    servers: [{ url: '/v1' }],
    paths,
  };
}
