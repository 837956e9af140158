import time, pathlib, os
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"]="1"
os.environ["JAX_COMPILATION_CACHE_DIR"]="/tmp/w/jc"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]="0.2"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"]="0"
from tests import tiny
from vidact.training import loop
import jax
def test_p(tmp_path):
    T=time.process_time
    t=T(); d=tiny.write_data(tmp_path); print("data",T()-t)
    t=T(); c=tiny.config(d, train__steps=6, train__checkpoint_every=3, train__trace=True)
    loop.run(c, tmp_path/"r"); print("run",T()-t)
    t=T(); c.train.steps=12
    loop.run(c, tmp_path/"r"); print("run2",T()-t)
    t=T()
    loop.run(c, tmp_path/"s"); print("run3",T()-t)
    a=[(tmp_path/x/"trace.jsonl").read_text() for x in "rs"]
    print('same trace', a[0]==a[1])
    t=T()
    tr=loop.prepare(c, tmp_path/"z"); print('prepare',T()-t)
