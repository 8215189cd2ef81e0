import { WireWriter } from '../protobuf/wire.ts';
import type { Schema } from './definitions.ts';

/**
 * The only form in which kubectl reads OpenAPI 2: the document of `openapi.v2` as a protobuf message. Older ones ask for
 * `…v2@v1.0+protobuf`, but cannot read a content type with that sign.
 */
export const SWAGGER_PROTOBUF_TYPE = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

/** Encodes a Swagger document of the parts that {@link documents} makes; others are not there to be lost. */
export function encodeSwagger(document: Schema): Buffer {
  const info = document['info'] as Record<string, string>;
  const writer = new WireWriter();
  writer.bytes(1, document['swagger'] as string);
  writer.message(2, inner => inner.bytes(1, info['title']!).bytes(2, info['version']!));
  writer.message(8, paths => {
    for (const [path, item] of Object.entries(document['paths'] as Record<string, { patch: Schema }>)) {
      paths.message(2, named => {
        named.bytes(1, path);
        named.message(2, fields => fields.message(8, patch => writeOperation(patch, item.patch)));
      });
    }
  });
  writer.message(9, definitions =>
    writeNamedSchemas(definitions, document['definitions'] as Record<string, Schema>),
  );
  return writer.finish();
}

function writeOperation(writer: WireWriter, operation: Schema): void {
  for (const { name } of operation['parameters'] as { name: string }[]) {
    // ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema
    writer.message(8, item =>
      item.message(1, parameter =>
        parameter.message(2, nonBody =>
          nonBody.message(3, query => query.bytes(2, 'query').bytes(4, name).bytes(6, 'string')),
        ),
      ),
    );
  }
  writeExtensions(writer, 13, operation);
}

function writeNamedSchemas(writer: WireWriter, schemas: Record<string, Schema>): void {
  for (const [name, schema] of Object.entries(schemas)) {
    writer.message(1, named => named.bytes(1, name).message(2, inner => writeSchema(inner, schema)));
  }
}

function writeSchema(writer: WireWriter, schema: Schema): void {
  const text = (number: number, key: string): void => {
    if (schema[key] !== undefined) writer.bytes(number, schema[key] as string);
  };
  text(1, '$ref');
  text(2, 'format');
  text(4, 'description');
  for (const name of (schema['required'] ?? []) as string[]) writer.bytes(19, name);
  const { additionalProperties, type, items } = schema;
  // Clients take the properties that are named for all that there may be.
  const properties = schema['x-kubernetes-preserve-unknown-fields'] ? undefined : schema['properties'];
  if (typeof additionalProperties === 'object') {
    writer.message(21, item => item.message(1, inner => writeSchema(inner, additionalProperties as Schema)));
  }
  if (type !== undefined) writer.message(22, item => item.bytes(1, type as string));
  if (items !== undefined)
    writer.message(23, item => item.message(1, inner => writeSchema(inner, items as Schema)));
  if (properties !== undefined) {
    writer.message(25, inner => writeNamedSchemas(inner, properties as Record<string, Schema>));
  }
  writeExtensions(writer, 31, schema);
}

/** Extensions are YAML texts, and JSON is YAML. */
function writeExtensions(writer: WireWriter, number: number, owner: Schema): void {
  for (const [key, value] of Object.entries(owner)) {
    if (!key.startsWith('x-')) continue;
    writer.message(number, named =>
      named.bytes(1, key).message(2, any => any.bytes(2, JSON.stringify(value))),
    );
  }
}
