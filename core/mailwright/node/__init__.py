"""The Send Email node: a document and a flow's state in, an outcome out.

    node = load_node("welcome.toml")
    outcome = await node.run(FlowState(input={"name": "Ann"}))

Loading a document raises; running obeys ``stop_on_error``, also for a bad address that came from data.
"""

from mailwright.node.checking import check_node, load_node, node_schema
from mailwright.node.outcome import NodeOutcome
from mailwright.node.running import SendEmailNode
from mailwright.node.state import Change, FlowState

__all__ = ["Change", "FlowState", "NodeOutcome", "SendEmailNode", "check_node", "load_node", "node_schema"]
