"""One host for one task of the Ansible collection, over a connection of Ansible's."""
