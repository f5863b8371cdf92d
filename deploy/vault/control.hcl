# control: stores, lists and removes provider keys. It cannot read one.

path "llm/data/tenants/+/providers/+/+" {
  capabilities = ["create", "update"]
}

path "llm/metadata/tenants/" {
  capabilities = ["list"]
}

path "llm/metadata/tenants/+/providers/" {
  capabilities = ["list"]
}

path "llm/metadata/tenants/+/providers/+/" {
  capabilities = ["list"]
}

# Removing a key is removing its metadata and all its versions.
path "llm/metadata/tenants/+/providers/+/+" {
  capabilities = ["create", "update", "delete"]
}
