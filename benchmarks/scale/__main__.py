import sys, json, dataclasses
from benchmarks.scale.measure import measure, QUICK, Scope
m = measure(QUICK if "--quick" in sys.argv else Scope())
for name, c in {**m.calls, **m.takes}.items():
    print(f"{name:40} {c.per_s:8.0f}/s  {c.server_ms:8.3f} ms server  {c.wal:8.0f} B wal  {c.statements/max(1,c.calls):5.1f} statements")
print(m.stored, m.broker, m.server)
