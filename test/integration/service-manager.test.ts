/** What our processes say to a service manager that started them. */
import * as path from 'node:path';
import { CliScene } from '../support/cli-scene';
import { ServiceManager } from '../support/service-manager';
import { until } from '../support/shell';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(120_000);

const BIN = path.resolve(__dirname, '../../bin/mesos-cvmfs');

describeWithMounts('the service under a service manager', () => {
  let scene: CliScene;
  let manager: ServiceManager;

  beforeEach(() => {
    scene = new CliScene();
    scene.configure('http://127.0.0.1:1/cvmfs/@fqrn@', '', '/nowhere/key.pub');
    manager = new ServiceManager({ socket: path.join(scene.host.dir, 'notify'), storeMax: 0, command: [process.execPath, BIN, 'serve', '--config', scene.configFile, '--run-dir', scene.host.runDir] });
  });
  afterEach(async () => {
    await manager.end();
    await scene.end();
  });

  it('says when it takes calls, and when it stops', async () => {
    const pid = await manager.startReady();
    expect(manager.said).toContainEqual(expect.stringMatching(/^STATUS=takes calls on unix:\/\/.*provisioner\.sock, http:\/\/127\.0\.0\.1:\d+$/));
    expect(JSON.parse((await scene.run('status', '--json')).stdout)).toMatchObject({ service: { pid } });
    process.kill(pid, 'SIGTERM');
    await until('it has ended', () => manager.of('ended').length === 1);
    expect(manager.said).toContain('STOPPING=1');
    expect(manager.of('ended')).toEqual([{ event: 'ended', status: 0 }]);
  });
});
