import test from 'ava';
import { checkRoom, resolveValues } from '../../src/lab/values.ts';

const range = (list: string) => [`ipam.operator.clusterPoolIPv4PodCIDRList=${list}`];

test('pods cannot have addresses of the network between the nodes', t => {
  for (const list of ['192.168.8.0/21', '{10.77.0.0/20,192.168.0.0/20}']) {
    t.throws(() => resolveValues([], range(list)), {
      code: 'BAD_VALUES',
      message:
        /clusterPoolIPv4PodCIDRList: 192\.168\.\d\.0\/2\d overlaps 192\.168\.10\.0\/24, the network between/,
    });
  }
  t.notThrows(() => resolveValues([], range('192.168.16.0/21')));
});

test('a lab node has one device', t => {
  t.throws(() => resolveValues([], ['devices={eth0,eth9}']), {
    code: 'BAD_VALUES',
    message: "values: devices: eth9 is no device of a lab's node; leave it out, or use eth0",
  });
  t.notThrows(() => resolveValues([], ['devices=eth0']));
});

test('every node needs a block of the pod ranges', t => {
  const { flat } = resolveValues(
    [],
    [...range('{10.99.42.0/28,10.99.84.0/29}'), 'ipam.operator.clusterPoolIPv4MaskSize=29'],
  );
  t.notThrows(() => checkRoom(flat, 3));
  t.throws(() => checkRoom(flat, 4), {
    code: 'BAD_VALUES',
    message:
      'values: ipam.operator.clusterPoolIPv4PodCIDRList: 10.99.42.0/28, 10.99.84.0/29 is 3 blocks of /29 for 4 nodes; append a range, or use a longer mask',
  });
});
