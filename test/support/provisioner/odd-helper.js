'use strict';
/** A mount helper that hangs, dies or answers as its operation's target says. */
process.on('disconnect', () => process.exit(0));
process.on('message', ({ target }) => {
  if (target === 'hang') for (;;);
  if (target === 'die') process.kill(process.pid, 'SIGKILL');
  if (target === 'fail') process.send({ ready: false, failure: { code: 'SYSTEM', what: 'umount fail: EIO', data: { errno: 'EIO' } } });
  else process.send({ ready: false, count: process.pid });
});
process.send({ ready: true });
