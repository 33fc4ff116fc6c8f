"""A thousand boxes come and go: nothing is left of them."""
import time

import fault
from test_kill import Counted

BOXES = 1000
AT_A_TIME = 40
MB = 1 << 20


def slab(name):
    """Objects of a kernel cache, if it may be looked at."""
    try:
        for line in open("/proc/slabinfo"):
            if line.split()[0] == name:
                return int(line.split()[1])
    except OSError:
        pass
    return None


class Leak(fault.unittest.TestCase):
    def cycle(self, s, count):
        """So many boxes: each change of a function retires its box, and the next call makes one."""
        end = s.status()["cold_starts"] + count
        client, i = s.client(), 0
        while s.status()["cold_starts"] < end:
            for k in range(AT_A_TIME):
                i += 1
                client.update_function_configuration(
                    FunctionName=f"f{k}", Environment={"Variables": {"NUMBER": str(i)}})
            for k in range(AT_A_TIME):
                s.invoke(f"f{k}").value

    def test_a_thousand_boxes(self):
        with fault.Server("--pool-each", "1", "--idle", "1") as s:
            for k in range(AT_A_TIME):
                s.create(f"f{k}", fault.hello_c(), memory=128)
            self.cycle(s, 100)  # caches fill, arenas grow
            s.wait_for(lambda: s.status()["environments"] == 0, "idle boxes to go", 10)
            s.settle()
            before, nets = Counted(s), slab("net_namespace")
            started, start = s.status()["cold_starts"], time.monotonic()
            self.cycle(s, BOXES)
            took = time.monotonic() - start
            made = s.status()["cold_starts"] - started
            s.wait_for(lambda: s.status()["environments"] == 0, "idle boxes to go", 10)
            s.settle()
            after = Counted(s)
            print(f"  {made} boxes in {took:.1f} s")
            for name in before.__dict__:
                print(f"  {name}: {getattr(before, name)} -> {getattr(after, name)}")
            print(f"  net namespaces in the slab: {nets} -> {slab('net_namespace')}")
            self.assertGreaterEqual(made, BOXES)
            self.assertEqual(after.same(), before.same())
            # Each box leaves a log stream: hundreds of bytes, no more.
            if not fault.SANITIZED:  # which keeps what was freed for a while
                self.assertLess(after.core_anon_rss - before.core_anon_rss, 2 * MB)
                self.assertLess(after.spawner_rss - before.spawner_rss, 1 * MB)
            if nets is not None:
                self.assertLess(slab("net_namespace") - nets, BOXES / 4)  # others make some, too

    def test_failures_leak_nothing(self):
        """Crashes, time-outs, refused programs, broken channels, deleted while they run."""
        with fault.Server("--pool-each", "1", "--idle", "1") as s:
            s.create("crash", {"index.py": "import os\ndef handler(e, c): os._exit(1)\n"}, memory=1769)
            s.create("init", {"index.py": "import os\nos._exit(1)\n"}, memory=1769)
            s.create("text", {"bootstrap": "nonsense"})
            s.create("frames", {"index.py": '''
import os, stat
def handler(e, c):
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, b"nonsense" * 100)
        except OSError:
            pass
'''}, memory=1769)

            def round():
                for n in ("crash", "init", "text", "frames"):
                    for _ in range(3):
                        s.invoke(n).fault

            round()
            s.wait_for(lambda: s.status()["environments"] == 0, "idle boxes to go", 10)
            s.settle()
            before = Counted(s)
            for _ in range(5):
                round()
            s.wait_for(lambda: s.status()["environments"] == 0, "idle boxes to go", 10)
            s.settle()
            after = Counted(s)
            self.assertEqual(after.same(), before.same())
            if not fault.SANITIZED:
                self.assertLess(after.core_anon_rss - before.core_anon_rss, 4 * MB)


if __name__ == "__main__":
    fault.main()
