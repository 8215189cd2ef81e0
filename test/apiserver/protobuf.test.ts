import test from 'ava';
import fc from 'fast-check';
import { decodeProtobuf } from '../../src/apiserver/protobuf/decode.ts';
import { WireWriter, wireFields } from '../../src/apiserver/protobuf/wire.ts';
import { codeOf } from '../../src/base/errors.ts';

/** An object as clients send it. */
function envelope(apiVersion: string, kind: string, fill: (writer: WireWriter) => void): Buffer {
  const writer = new WireWriter();
  writer.message(1, type => type.bytes(1, apiVersion).bytes(2, kind));
  writer.message(2, fill);
  return Buffer.concat([Buffer.from('k8s\0'), writer.finish()]);
}

test('an object reads as the JSON that says the same', t => {
  const bytes = envelope('v1', 'Pod', pod => {
    pod.message(1, metadata => {
      metadata
        .bytes(1, 'p')
        .bytes(3, '')
        .message(8, () => {});
      metadata.message(9, time => time.varint(1, 1_700_000_000));
      metadata.message(11, entry => entry.bytes(1, 'app').bytes(2, 'web'));
    });
    pod.message(2, spec => {
      spec.message(1, volume => {
        volume.bytes(1, 'scratch').message(2, source => source.message(2, () => {}));
      });
      spec.message(2, container => {
        container.bytes(1, 'c').bytes(2, 'nginx');
        container.message(6, port => port.varint(2, 0).varint(3, 80));
        container.message(10, probe => {
          probe.message(1, handler =>
            handler.message(2, get => get.message(2, port => port.varint(1, 1).bytes(3, 'http'))),
          );
        });
      });
      spec.varint(4, 0);
    });
    pod.message(3, () => {});
  });
  t.deepEqual(decodeProtobuf(bytes), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', deletionTimestamp: '2023-11-14T22:13:20Z', labels: { app: 'web' } },
    spec: {
      volumes: [{ name: 'scratch', emptyDir: {} }],
      containers: [
        {
          name: 'c',
          image: 'nginx',
          ports: [{ containerPort: 80 }],
          livenessProbe: { httpGet: { port: 'http' } },
        },
      ],
      terminationGracePeriodSeconds: 0,
    },
  });
});

test('a kind that is not known here is not taken for another', t => {
  t.is(decodeProtobuf(envelope('batch/v1', 'Job', () => {})), undefined);
  const options = envelope('apps/v1', 'DeleteOptions', writer => writer.varint(1, 5));
  t.is(decodeProtobuf(options)?.['gracePeriodSeconds'], 5);
});

test('what is written is read', t => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 5000 }), fc.oneof(fc.nat(), fc.uint8Array()))),
      fields => {
        const writer = new WireWriter();
        for (const [number, value] of fields) {
          if (typeof value === 'number') writer.varint(number, value);
          else writer.bytes(number, Buffer.from(value));
        }
        const read = [...wireFields(writer.finish())].map(field => [
          field.number,
          field.wire === 'varint' ? Number(field.value) : new Uint8Array(field.bytes),
        ]);
        t.deepEqual(read, fields);
      },
    ),
  );
});

test('any bytes are read or refused', t => {
  const kinds = fc.constantFrom('Pod', 'Service', 'Node', 'Event', 'DeleteOptions');
  fc.assert(
    fc.property(kinds, fc.uint8Array({ maxLength: 200 }), (kind, bytes) => {
      const object = envelope('v1', kind, () => {});
      try {
        decodeProtobuf(
          Buffer.concat([object.subarray(0, -2), Buffer.from([0x12, bytes.length & 0x7f]), bytes]),
        );
      } catch (error) {
        t.true(
          codeOf(error) === 'INVALID' || error instanceof TypeError || error instanceof SyntaxError,
          String(error),
        );
      }
    }),
    { numRuns: 2000 },
  );
});
