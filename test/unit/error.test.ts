import { Failure } from '../../src/error';

describe('a failure from another process', () => {
  it.each(['toString', 'constructor', '__proto__', 'NO_SUCH_CODE', 7])('has no code that we do not know: %p', (code) => {
    const failure = Failure.fromJSON({ code, what: 'x', data: {} });
    expect(failure.code).toBe('INTERNAL');
    expect(failure.grpcStatus).toBe(13);
  });
});
