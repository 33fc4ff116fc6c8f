"""AWS_ENDPOINT_URL for botocore older than 1.31, which does not know the variable.

Debian 12's boto3 is such a one. The module is patched when user code imports it, so that functions
that do not use it pay nothing. Newer versions are left alone.
"""
import importlib.abc
import importlib.util
import os
import sys

MODULE = "botocore.session"


def endpoint(service):
    """The address set for this service, else the one for all, else None."""
    name = "AWS_ENDPOINT_URL_" + service.replace("-", "_").replace(" ", "_").upper()
    return os.environ.get(name) or os.environ.get("AWS_ENDPOINT_URL")


def patch(module):
    import botocore

    if tuple(map(int, botocore.__version__.split(".")[:2])) >= (1, 31):
        return
    original = module.Session.create_client

    # The first seven parameters of create_client, so that positional calls work, too.
    def create_client(self, service_name, region_name=None, api_version=None, use_ssl=True,
                      verify=None, endpoint_url=None, *args, **kwargs):
        if endpoint_url is None:
            endpoint_url = endpoint(service_name)
        return original(self, service_name, region_name, api_version, use_ssl, verify,
                        endpoint_url, *args, **kwargs)

    module.Session.create_client = create_client


class Finder(importlib.abc.MetaPathFinder):
    """Lets the others find botocore.session, and patches what they loaded."""

    def find_spec(self, name, path, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                patch(module)

            spec.loader.exec_module = exec_module
        return spec


def install():
    sys.meta_path.insert(0, Finder())
