/** Names of the service manager's socket; what goes over it is in test/unit/fuse/descriptor-store.test.ts. */
import { notifySocketOf, openNotifySocket } from '../../../src/native/notify-socket';

describe('the service manager’s socket', () => {
  it('is none when nobody set it', () => {
    expect(notifySocketOf({})).toBeNull();
    expect(notifySocketOf({ NOTIFY_SOCKET: '' })).toBeNull();
  });

  it.each(['run/notify', '/', '@', `/${'a'.repeat(107)}`, `@${'a'.repeat(108)}`, '/run/\0notify', 'vsock:2:1'])('cannot be %j', (name) => {
    expect(() => openNotifySocket(name)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  it('says that nobody listens', () => {
    expect(() => openNotifySocket('/nowhere/notify').send(['READY=1'])).toThrow(expect.objectContaining({ data: { errno: 'ENOENT' } }));
    expect(() => openNotifySocket(`@mesos-cvmfs-nobody-${process.pid}`).send(['READY=1'])).toThrow(expect.objectContaining({ data: { errno: 'ECONNREFUSED' } }));
  });
});
