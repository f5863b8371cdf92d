"""`python -m keyrail_provider_worker`"""

from keyrail.runtime.process import run
from keyrail_provider_worker.app import ProviderWorker
from keyrail_provider_worker.settings import WorkerSettings

settings = WorkerSettings()
run("provider-worker", settings, lambda bus: ProviderWorker(bus, settings))
